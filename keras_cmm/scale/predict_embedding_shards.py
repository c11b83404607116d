"""Classifying embeddings in parts."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_cmm.clip import KerasHubEncoder
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale import (
    ShardFolder,
    ShardReport,
    ShardResult,
    Storage,
    embedded_rows,
    read_manifest,
)
from keras_cmm_runtime.scale.read_shard import asking_again
from keras_cmm_runtime.scale.shard_format import SHARDS, SUFFIX
from keras_cmm_runtime.scale.shard_worker import counts_of_file, file_of_table
from keras_cmm_runtime.utils import warn

if TYPE_CHECKING:
    import pyarrow

    from keras_cmm.models import CMMImageClassifier

_COLUMNS = ("id", "label", "split", "digest", "error")

# Logits at a time: 64 MiB.
_BLOCK = 1 << 24


def predict_embedding_shards(
    classifier: CMMImageClassifier,
    source: str,
    output: str,
    *,
    top_k: int = 5,
    reject: float | None = None,
    coverage: float | None = None,
    source_options: Mapping[str, Any] | None = None,
    output_options: Mapping[str, Any] | None = None,
    progress: Callable[[ShardReport], None] | None = None,
) -> ShardReport:
    """Classifies embeddings of `embed_shards`, a part at a time, into a folder of Parquet files.

    The files are those of `predict_shards`, but no image is read or embedded again. A part that is
    there is not made again.

    Args:
        classifier: The classifier.
        source: The folder of the embeddings, a path or a URI.
        output: The folder to write, a path or a URI.
        top_k: Number of classes of a row.
        reject: As in `CMMImageClassifier.classify`, or `None`.
        coverage: As in `CMMImageClassifier.classify`, or `None`.
        source_options: Arguments of fsspec's file system for the source.
        output_options: The same for the output.
        progress: Called after each part.

    Returns:
        What became of the parts.

    Raises:
        InputError: If the embeddings are of another encoder, the output is of another job, or a
            file cannot be read or written.

    Example:
        >>> report = predict_embedding_shards(model, "embedded", "predicted")  # doctest: +SKIP
    """
    images, folder = Storage(source, source_options), Storage(output, output_options)
    manifest = read_manifest(images)
    _check_encoder(source, manifest, classifier)
    rates: dict[str, Any] = {"top_k": top_k, "reject": reject, "coverage": coverage}
    # Of no images: a rate that cannot be used is told before anything is written.
    classifier.named(np.empty((0, len(classifier.class_names)), "float32"), **rates)
    job = {
        "kind": "predictions",
        "source": images.place,
        "model": _digest(classifier),
        "class_names": list(classifier.class_names),
        **rates,
    }
    output_folder, report = ShardFolder(folder, job), ShardReport()
    if manifest["failed"]:
        warn(f"{source}: lacks the images of {len(manifest['failed'])} parts, which failed.")
    for name, rows, _ in manifest["shards"]:
        file = f"{SHARDS}/{name}{SUFFIX}"
        try:
            counts = counts_of_file(folder, file)
            is_new = counts is None
            if counts is None:
                table = asking_again(functools.partial(_read, images, manifest, name, rows))
                data, counts = file_of_table(_classified(classifier, table, rates))
                asking_again(functools.partial(folder.write, file, data))
        except OSError as error:
            raise InputError(f"{file}: cannot be read or written ({error}).") from error
        report.add(ShardResult(name, **counts, is_new=is_new))
        if progress is not None:
            progress(report)
    output_folder.finish(report)
    return report


def _check_encoder(
    source: str, manifest: Mapping[str, Any], classifier: CMMImageClassifier
) -> None:
    """Raises an error if embeddings are not of the encoder of a classifier."""
    encoder = classifier.embedder.encoder
    if manifest.get("kind") != "embeddings":
        raise InputError(f"{source}: holds no embeddings, which `keras-cmm embed` writes.")
    if classifier.head.also_dim:
        raise InputError(
            f"{source}: holds embeddings of one encoder, and this classifier has two; classify the "
            "images."
        )
    known = manifest["encoder"].get("weights")
    own = encoder.digest().get("weights") if isinstance(encoder, KerasHubEncoder) else None
    if manifest["dim"] != encoder.dim or (known and own and known != own):
        raise InputError(
            f"{source}: its embeddings are of {manifest['model']!r}, not of the encoder of this "
            "classifier; embed the images by it."
        )


def _digest(classifier: CMMImageClassifier) -> str:
    """Returns a digest of all weights of the head."""
    digest = hashlib.sha256()
    for weight in classifier.head.get_weights():
        digest.update(f"{weight.dtype} {weight.shape} ".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _read(images: Storage, manifest: Mapping[str, Any], name: str, rows: int) -> pyarrow.Table:
    import pyarrow

    kinds = {
        "digest": pyarrow.binary(32),
        "embedding": pyarrow.list_(pyarrow.float16(), manifest["dim"]),
    }
    columns = [*_COLUMNS, "embedding"]
    schema = pyarrow.schema([(each, kinds.get(each, pyarrow.string())) for each in columns])
    batches = list(embedded_rows(images, manifest, name, rows, columns))
    return pyarrow.Table.from_batches(batches, schema)


def _classified(
    classifier: CMMImageClassifier, table: pyarrow.Table, rates: Mapping[str, Any]
) -> pyarrow.Table:
    """Returns the rows of a part with their classes in the place of the embeddings."""
    import pyarrow

    column = table.column("embedding").combine_chunks()
    is_there = np.flatnonzero(np.asarray(column.is_valid()))
    embeddings = np.asarray(column.drop_null().flatten())
    embeddings = embeddings.reshape(len(is_there), column.type.list_size)
    named = _named(classifier, embeddings.astype("float32"), rates)
    classes: list[list[str] | None] = [None] * len(table)
    scores: list[list[float] | None] = [None] * len(table)
    for row, best in zip(is_there.tolist(), named, strict=True):
        classes[row] = [name for name, _ in best]
        scores[row] = [chance for _, chance in best]
    table = table.drop_columns("embedding")
    table = table.append_column("classes", pyarrow.array(classes, pyarrow.list_(pyarrow.string())))
    return table.append_column("scores", pyarrow.array(scores, pyarrow.list_(pyarrow.float32())))


def _named(
    classifier: CMMImageClassifier,
    embeddings: npt.NDArray[np.float32],
    rates: Mapping[str, Any],
) -> list[list[tuple[str, float]]]:
    step = max(1, _BLOCK // len(classifier.class_names))
    named: list[list[tuple[str, float]]] = []
    for first in range(0, len(embeddings), step):
        logits = classifier.predict_embeddings(embeddings[first : first + step])
        named += classifier.named(logits, **rates)
    return named
