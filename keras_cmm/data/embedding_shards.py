"""Embeddings in a folder of Parquet files, as `keras-cmm embed --engine` writes them."""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from keras_cmm.utils.embedding_rows import find_bad_row
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale import Storage, embedded_rows, read_manifest
from keras_cmm_runtime.utils import listed, warn

_PARTS = ("train", "val", "test")
_COLUMNS = ("label", "split", "digest", "embedding")


def read_embedding_shards(uri: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Reads the arguments of `EmbeddingSet` from a folder.

    The rows are copied into files without a name on this machine's disk and mapped from there, so
    memory does not grow with them. Rows without an embedding or a label are left out.

    Args:
        uri: The folder, a path or a URI.
        options: Arguments of fsspec's file system.

    Returns:
        The arguments.

    Raises:
        InputError: If the folder cannot be read, or there is no text tower, and so no texts.
    """
    storage = Storage(uri, options)
    manifest = read_manifest(storage)
    if manifest.get("kind") != "embeddings" or "texts" not in manifest:
        raise InputError(
            f"{uri}: has no texts of two classes or more; embed labelled images with a model that "
            "has a text tower."
        )
    names = manifest["class_names"]
    ids = {label: number for number, label in enumerate(names)}
    has_splits = _has_splits(storage, manifest)
    fields: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        parts = {
            part: _MappedRows(manifest["dim"], stack.enter_context(tempfile.TemporaryFile()))
            for part in _PARTS
        }
        for table in _tables(storage, manifest):
            _take_rows(uri, table, ids, has_splits, manifest["test_fraction"], parts)
        _warn_of_rows(uri, manifest, has_splits, parts)
        for part, rows in parts.items():
            if not len(rows) and part == "val":
                continue
            if not len(rows):
                raise InputError(f"{uri}: has no {part} rows.")
            fields |= {f"{part}_embeddings": rows.mapped(), f"{part}_labels": rows.labels()}
            if part != "test":
                fields[f"{part}_keys"] = rows.keys()
    try:
        texts = np.load(io.BytesIO(storage.read(manifest["texts"])))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{uri}/{manifest['texts']}: cannot be read ({error}).") from error
    return fields | {
        "text_embeddings": texts,
        "class_names": list(names.values()),
        "dataset": Path(uri.rstrip("/")).name,
        "backbone": manifest["model"],
        "logit_scale": manifest["logit_scale"],
        "protocol": "folders" if has_splits else f"split {manifest['test_fraction']:g} by digest",
    }


def _tables(
    storage: Storage, manifest: Mapping[str, Any], columns: Sequence[str] = _COLUMNS
) -> Iterator[Any]:
    """Yields the rows of all files, some at a time."""
    for name, rows, _ in manifest["shards"]:
        try:
            yield from embedded_rows(storage, manifest, name, rows, columns)
        except OSError as error:
            raise InputError(
                f"{storage.uri}: part {name} cannot be read ({error}); if it is damaged, delete it "
                "and run the command that made it again."
            ) from error


def _has_splits(storage: Storage, manifest: Mapping[str, Any]) -> bool:
    """Returns whether there are rows of both train and test."""
    found: set[str] = set()
    for table in _tables(storage, manifest, ["split"]):
        found |= set(table.column("split").unique().drop_null().to_pylist())
        if {"train", "test"} <= found:
            return True
    if len(found) > 1:
        warn(
            f"{storage.uri}: has the splits {listed(sorted(found))}, and not both train and test; "
            "the digests of the images decide, whatever the splits are."
        )
    return False


def _warn_of_rows(
    uri: str, manifest: Mapping[str, Any], has_splits: bool, parts: Mapping[str, _MappedRows]
) -> None:
    """Warns of images that are missing, and of those that are on both sides."""
    if manifest["failed"]:
        warn(
            f"{uri}: lacks the images of {len(manifest['failed'])} parts, which failed; run the "
            "command that made it again."
        )
    labelled, taken = sum(manifest["labels"].values()), sum(map(len, parts.values()))
    left_out = {
        "no label": manifest["rows"] - manifest["errors"] - labelled,
        "a split that is none of train, val and test": labelled - taken,
    }
    for reason, count in left_out.items():
        if count > 0:
            warn(f"{uri}: {count:,} of {manifest['rows']:,} rows have {reason}; left out.")
    # Digests alone decide where there are no splits, so that copies are on one side.
    # Their first 8 bytes tell them apart, and are compared sooner.
    train, test = (parts[part].keys()[:, :8].copy().view("u8") for part in ("train", "test"))
    copies = int(np.isin(test, train).sum()) if has_splits else 0
    if copies:
        warn(
            f"{uri}: {copies:,} of {len(test):,} test images are copies of training images, so "
            "accuracies are too high."
        )


def _take_rows(
    uri: str,
    table: Any,
    ids: Mapping[str, int],
    has_splits: bool,
    test_fraction: float,
    parts: Mapping[str, _MappedRows],
) -> None:
    labels, splits, digests = (
        table.column(name).to_pylist() for name in ("label", "split", "digest")
    )
    column = table.column("embedding")
    there = np.flatnonzero(np.asarray(column.is_valid()))
    embeddings = np.asarray(column.drop_null().flatten())
    embeddings = embeddings.reshape(len(there), column.type.list_size)
    for part, rows in parts.items():
        chosen = [
            labels[row] in ids
            and part == (splits[row] if has_splits else _drawn(digests[row], test_fraction))
            for row in there
        ]
        taken = embeddings[np.array(chosen, bool)]
        bad = find_bad_row(taken)
        if bad is not None:
            raise InputError(f"{uri}: an embedding has {bad.reason}; embed the images again.")
        numbers = list(itertools.compress(there, chosen))
        rows.add(
            taken,
            [ids[labels[row]] for row in numbers],
            b"".join(digests[row] for row in numbers),
        )


def _drawn(digest: bytes, test_fraction: float) -> str:
    """Returns the split of an image. Copies of an image have one digest, and so one split."""
    return "test" if int.from_bytes(digest[:8]) < test_fraction * 2**64 else "train"


class _MappedRows:
    """Rows of one split, in a file without a name."""

    def __init__(self, dim: int, file: IO[bytes]) -> None:
        self._dim = dim
        self._file = file
        self._labels: list[npt.NDArray[np.int32]] = []
        self._keys: list[bytes] = []

    def add(self, rows: npt.NDArray[np.float16], labels: list[int], keys: bytes) -> None:
        try:
            self._file.write(np.ascontiguousarray(rows, "<f2").tobytes())
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"{tempfile.gettempdir()}: has no room for the rows ({error.strerror or error}); "
                "name a folder of a larger disk by the environment variable TMPDIR."
            ) from error
        self._labels.append(np.array(labels, "int32"))
        self._keys.append(keys)

    def __len__(self) -> int:
        return sum(map(len, self._labels))

    def labels(self) -> npt.NDArray[np.int32]:
        return np.concatenate(self._labels)

    def keys(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(b"".join(self._keys), "uint8").reshape(-1, 32)

    def mapped(self) -> npt.NDArray[np.float16]:
        return np.memmap(self._file, "<f2", mode="r", shape=(len(self), self._dim))
