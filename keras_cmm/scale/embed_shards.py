"""Embedding images in parts, on one machine or many."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_cmm.clip import Encoder, TextEmbedder, build_prompts
from keras_cmm.scale.embedding_model import EmbeddingModel
from keras_cmm_runtime.scale import (
    DEFAULT_SHARD_SIZE,
    EngineOptions,
    ShardFolder,
    ShardReport,
    ShardWorker,
    Storage,
    find_shards,
    names_of_labels,
    run_workers,
)
from keras_cmm_runtime.utils.check_number import check_int, check_number

TEXTS_FILE = "texts.npy"


def embed_shards(
    source: str,
    output: str,
    make_encoder: Callable[[], Encoder],
    *,
    model: str,
    options: EngineOptions | None = None,
    batch_size: int | None = None,
    shard_size: int = DEFAULT_SHARD_SIZE,
    test_fraction: float = 0.5,
    prompts: Callable[[Sequence[str]], Sequence[Sequence[str]]] | None = None,
    source_options: Mapping[str, Any] | None = None,
    output_options: Mapping[str, Any] | None = None,
    progress: Callable[[ShardReport], None] | None = None,
) -> ShardReport:
    """Embeds all images of a source, a part at a time, into a folder of Parquet files.

    The files have the columns id, label, split, digest (SHA-256 of the image file), error, and
    embedding. An image that cannot be read has an error and no embedding. A part that is there is
    not made again, so a run that was broken off goes on where it was. Two runs at a time do no
    harm. `EmbeddingSet.read` opens the folder.

    Args:
        source: A folder, a tar or Parquet file with images, a list, or a folder of such files; a
            path, or a URI that fsspec opens. See `find_shards`.
        output: The folder to write, a path or a URI.
        make_encoder: Makes the encoder of a worker. It must be picklable.
        model: The name of the encoder, for the record.
        options: What runs the workers; see `EngineOptions`.
        batch_size: Images of a forward pass; `None` as in `ImageEmbedder`.
        shard_size: Images of a part, where images are files.
        test_fraction: Share of the images that are for testing, where the source has no splits.
            The digest of an image decides, so copies of it are on the same side.
        prompts: Returns the prompts of each class, of the class names. Defaults to "a photo of a
            {}.". An encoder without a text tower has no prompts.
        source_options: Arguments of fsspec's file system for the source.
        output_options: The same for the output.
        progress: Called after each part.

    Returns:
        What became of the parts. Those in `failed` have no file; another run tries them again.

    Raises:
        InputError: If there are no images, or the output is of another job.

    Example:
        >>> from keras_cmm.scale import KerasEncoder, embed_shards
        >>> make_encoder = KerasEncoder("emoji_clip_tiny")
        >>> report = embed_shards(
        ...     "photos", "embedded", make_encoder, model="emoji_clip_tiny"
        ... )  # doctest: +SKIP
    """
    if batch_size is not None:
        check_int("batch_size", batch_size, 1)
    check_number("test_fraction", test_fraction, "in [0, 1]")
    images, folder = Storage(source, source_options), Storage(output, output_options)
    listing = functools.partial(find_shards, images, shard_size)
    # Raises at once where there are no images.
    next(iter(listing()))
    encoder = make_encoder()
    job = {
        "kind": "embeddings",
        "source": images.place,
        "model": model,
        "dim": encoder.dim,
        "logit_scale": encoder.logit_scale,
        "encoder": encoder.digest(),
        "preprocessing": vars(encoder.preprocessor),
    }
    output_folder = ShardFolder(folder, job)
    threads = 0 if encoder.on_cpu else 4
    make_worker = functools.partial(_worker, make_encoder, batch_size, folder, threads)
    report = run_workers(options or EngineOptions(), listing, make_worker, progress)
    names = names_of_labels(report.labels, images)
    contents: dict[str, Any] = {"class_names": names, "test_fraction": test_fraction}
    if encoder.embed_texts is not None and len(names) > 1:
        texts = (prompts or _default_prompts)(list(names.values()))
        file = io.BytesIO()
        np.save(file, TextEmbedder(encoder).class_prototypes(texts))
        output_folder.write(TEXTS_FILE, file.getvalue())
        contents["texts"] = TEXTS_FILE
    output_folder.finish(report, **contents)
    return report


def _worker(
    make_encoder: Callable[[], Encoder], batch_size: int | None, output: Storage, threads: int
) -> ShardWorker:
    return ShardWorker(functools.partial(_model, make_encoder, batch_size), output, threads)


def _model(make_encoder: Callable[[], Encoder], batch_size: int | None) -> EmbeddingModel:
    return EmbeddingModel(make_encoder(), batch_size)


def _default_prompts(class_names: Sequence[str]) -> Sequence[Sequence[str]]:
    return build_prompts(class_names, template="a photo of a {}.")
