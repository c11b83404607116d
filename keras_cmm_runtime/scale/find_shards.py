"""Finding the parts of a source of images."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale.input_shard import InputShard
from keras_cmm_runtime.scale.row_texts import label_text, split_of_word, split_text
from keras_cmm_runtime.scale.shard_format import JOB_FILE, SHARDS
from keras_cmm_runtime.scale.storage import Storage
from keras_cmm_runtime.sources.folders import is_any_image_name, is_clutter
from keras_cmm_runtime.sources.splits import find_splits
from keras_cmm_runtime.utils import warn
from keras_cmm_runtime.utils.check_number import check_int

DEFAULT_SHARD_SIZE = 1000
_PATH_COLUMNS = ("path", "image", "file", "filename", "file_name", "image_path")
_LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category")
# Path of an image, its class, its split.
_Listed = tuple[str, str | None, str | None]


def find_shards(source: Storage, shard_size: int = DEFAULT_SHARD_SIZE) -> Iterator[InputShard]:
    """Finds the parts of a source, one after the other, while it is still being listed.

    - A tar file is one part: a WebDataset, or class folders. A folder of tar files has one part a
      file.
    - A Parquet file with image bytes is one part, and so is each of a folder of such files, or of
      its folder `data`, as on the Hugging Face hub.
    - Tar and Parquet files may also lie in a folder for each split.
    - A `.csv`, `.tsv` or `.parquet` list of the columns path and label has a part for each
      `shard_size` rows.
    - A folder of images, with a folder for each class and perhaps for each split, has a part for
      each `shard_size` images of a folder.

    Args:
        source: The folder or file.
        shard_size: Images of a part, where the images are files.

    Yields:
        The parts. The same source gives the same ones.

    Raises:
        InputError: If there are no images, or a list cannot be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        ...         Path(folder, name).parent.mkdir(exist_ok=True)
        ...         Path(folder, name).touch()
        ...     [(shard.paths, shard.labels[0]) for shard in find_shards(Storage(folder))]
        [(('cat/1.png', 'cat/2.png'), 'cat'), (('dog/1.png',), 'dog')]
    """
    check_int("shard_size", shard_size, 1)
    is_empty = True
    try:
        for shard in _find(source, shard_size):
            is_empty = False
            yield shard
    except OSError as error:
        raise InputError(f"{source.uri}: cannot be read ({error.strerror or error}).") from error
    if is_empty:
        raise InputError(
            f"{source.uri}: has no images; expected image files, tar or Parquet files, or a list."
        )


def _find(source: Storage, shard_size: int) -> Iterator[InputShard]:
    suffix = PurePosixPath(source.uri).suffix.lower()
    if not source.exists():
        raise InputError(f"{source.uri}: no such file or folder.")
    if source.is_folder():
        yield from _in_folder(source, shard_size)
    elif suffix in (".csv", ".tsv"):
        yield from _of_list(source, _csv_rows(source), shard_size)
    elif suffix == ".parquet" and (columns := _list_columns(source)):
        yield from _of_list(source, _parquet_rows(source, *columns), shard_size)
    elif suffix in (".tar", ".parquet"):
        yield _whole_file(_parent(source), posixpath.basename(source.path()))
    else:
        raise InputError(
            f"{source.uri}: is a file; give a folder, or a .tar, .parquet, .csv or .tsv file."
        )


def _in_folder(source: Storage, shard_size: int) -> Iterator[InputShard]:
    folders, files = source.entries()
    if JOB_FILE in files and SHARDS in folders:
        raise InputError(
            f"{source.uri}: is the output of a run in parts; give images, or embeddings without an "
            "engine."
        )
    whole = _whole_files(source, "", files)
    if whole and _has_image_folders(source, folders):
        warn(
            f"{source.uri}: its tar and Parquet files are taken, such as {whole[0]!r}, and the "
            "images in its folders are left out."
        )
    if not whole and "data" in folders:
        whole = _whole_files(source, "data")
    if whole:
        yield from (_whole_file(source, name) for name in whole)
        return
    found = find_splits(set(folders), source.uri)
    in_splits = {split: _whole_files(source, name) for split, name in found.items()}
    if any(in_splits.values()):
        for each, names in in_splits.items():
            yield from (_whole_file(source, name, each) for name in names)
        return
    splits = {name: split for split, name in found.items()}
    for folder, names in source.walk():
        parts = folder.split("/") if folder else []
        if any(map(is_clutter, parts)):
            continue
        split = splits.get(parts[0]) if parts else None
        below = parts[1:] if split else parts
        label = below[0] if below else None
        images = sorted(name for name in names if is_any_image_name(name) and not is_clutter(name))
        listed = ((f"{folder}/{name}".removeprefix("/"), label, split) for name in images)
        yield from _chunks(source, listed, shard_size, posixpath.basename(folder) or "images")


def _whole_files(source: Storage, place: str, names: Iterable[str] | None = None) -> list[str]:
    """Returns the tar and Parquet files of a folder of the source."""
    return [
        f"{place}/{name}".removeprefix("/")
        for name in (source.entries(place)[1] if names is None else names)
        if name.lower().endswith((".tar", ".parquet")) and not is_clutter(name)
    ]


def _has_image_folders(source: Storage, folders: Iterable[str]) -> bool:
    """Returns whether a folder has images in its folders, as class folders have."""
    return any(
        is_any_image_name(name)
        for folder in folders
        if not is_clutter(folder)
        for name in source.entries(folder)[1]
    )


def _whole_file(source: Storage, name: str, split: str | None = None) -> InputShard:
    stem = PurePosixPath(name).stem
    # As "train-00000-of-00005" does.
    split = split or split_of_word(re.split(r"[-_.]", stem)[0])
    return InputShard(
        f"{_slug(stem)}-{_digest([name])}",
        "tar" if name.lower().endswith(".tar") else "parquet",
        source,
        (name,),
        splits=(split,),
    )


def _chunks(
    source: Storage, listed: Iterable[_Listed], shard_size: int, stem: str
) -> Iterator[InputShard]:
    rows = iter(listed)
    while chunk := list(itertools.islice(rows, shard_size)):
        paths, labels, splits = zip(*chunk, strict=True)
        # The names of the files are part of the name, so a folder that has got more images since
        # gives other parts.
        name = f"{_slug(stem)}-{_digest(f'{path}|{label}|{split}' for path, label, split in chunk)}"
        yield InputShard(name, "files", source, paths, labels, splits)


def _of_list(source: Storage, rows: Iterator[_Listed], shard_size: int) -> Iterator[InputShard]:
    stem = PurePosixPath(source.uri).stem
    yield from _chunks(_parent(source), rows, shard_size, stem)


def _csv_rows(source: Storage) -> Iterator[_Listed]:
    with source.open() as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        try:
            delimiter = max(",;\t", key=text.readline().count)
            text.seek(0)
            reader = csv.DictReader(text, delimiter=delimiter)
            path, label, split = _columns(source, reader.fieldnames or ())
            for row in reader:
                yield _listed(source, reader.line_num, row, path, label, split)
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{source.uri}: cannot be read as a list ({error}).") from error


def _parquet_rows(
    source: Storage, path: str, label: str | None, split: str | None
) -> Iterator[_Listed]:
    columns = [name for name in (path, label, split) if name]
    with source.open() as file:
        number = 0
        for batch in _parquet(source, file).iter_batches(batch_size=1024, columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield _listed(source, number, row, path, label, split)


def _listed(
    source: Storage,
    number: int,
    row: dict[str, Any],
    path: str,
    label: str | None,
    split: str | None,
) -> _Listed:
    if not row.get(path):
        raise InputError(f"{source.uri}: row {number} has no image; give its path.")
    return (
        str(row[path]).strip(),
        label_text(row[label], f"{source.uri}: row {number}") if label else None,
        split_text(row[split]) if split else None,
    )


def _list_columns(source: Storage) -> tuple[str, str | None, str | None] | None:
    """Returns the columns of a Parquet file that is a list of paths, or `None` for another."""
    with source.open() as file:
        schema = _parquet(source, file).schema_arrow
    texts = [field.name for field in schema if str(field.type) in ("string", "large_string")]
    if not any(name.lower() in _PATH_COLUMNS for name in texts):
        return None
    return _columns(source, schema.names)


def _columns(source: Storage, names: Iterable[str]) -> tuple[str, str | None, str | None]:
    by_name = {name.strip().lower(): name for name in names}
    path, label, split = (
        next((by_name[name] for name in wanted if name in by_name), None)
        for wanted in (_PATH_COLUMNS, _LABEL_COLUMNS, ("split",))
    )
    if path is None:
        raise InputError(
            f"{source.uri}: has no column of paths; expected one of {', '.join(_PATH_COLUMNS)}."
        )
    return path, label, split


def _parquet(source: Storage, file: Any) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{source.uri}: cannot be read as Parquet ({error}).") from error


def _parent(source: Storage) -> Storage:
    uri = source.uri.rstrip("/")
    return Storage(uri.rpartition("/")[0] if "/" in uri else ".", source.options)


def _slug(stem: str) -> str:
    """Returns a name that every file system takes."""
    return re.sub(r"[^\w.-]+", "_", stem, flags=re.ASCII)[:80] or "images"


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()[:16]
