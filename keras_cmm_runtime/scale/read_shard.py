"""Reading the images of a part."""

from __future__ import annotations

import errno
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale.input_shard import InputShard
from keras_cmm_runtime.scale.row_texts import label_text, split_text
from keras_cmm_runtime.scale.stored_row import StoredRow
from keras_cmm_runtime.sources.folders import is_any_image_name, is_clutter

_T = TypeVar("_T")
_ROWS_AT_A_TIME = 64
_MAX_BYTES = 2**30
_LABEL_KEYS = ("label", "labels", "cls", "class", "class_name", "category")
_TRIES = 4
_FIRST_WAIT = 0.5
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What a full or read-only disk answers."""
# To ask again would be of no use.
_NO_USE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


def read_shard(shard: InputShard) -> Iterator[StoredRow]:
    """Reads the images of a part in their order, a few at a time.

    Args:
        shard: The part.

    Yields:
        The images. One that cannot be read has an error and no data.

    Raises:
        InputError: If a tar or Parquet file is damaged.
        OSError: If the storage fails, also when it is asked again. The whole part may be tried
            again then.

    Example:
        >>> import tempfile
        >>> from keras_cmm_runtime.scale import Storage
        >>> from keras_cmm_runtime.scale import find_shards
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "cat").mkdir()
        ...     _ = Path(folder, "cat", "1.png").write_bytes(b"...")
        ...     (shard,) = find_shards(Storage(folder))
        ...     [(row.id, row.label, row.data) for row in read_shard(shard)]
        [('cat/1.png', 'cat', b'...')]
    """
    readers = {"tar": _read_tar, "parquet": _read_parquet, "files": _read_files}
    try:
        yield from readers[shard.kind](shard)
    except (InputError, OSError):
        raise
    except Exception as error:  # Each store raises errors of its own.
        raise OSError(f"{shard.paths[0]}: {type(error).__name__}: {error}") from error


def asking_again(ask: Callable[[], _T]) -> _T:
    """Asks a storage again, a few times and a little later each time, when it fails.

    A file that is not there, or may not be read, is not asked for again. Nor is a full disk.
    """
    for attempt in range(_TRIES):
        try:
            return ask()
        except (*_NO_USE, InputError):
            raise
        except OSError as error:
            if attempt == _TRIES - 1 or error.errno in UNWRITABLE:
                raise
            time.sleep(_FIRST_WAIT * 2**attempt)
    raise AssertionError  # The last try returns or raises.


def _read_files(shard: InputShard) -> Iterator[StoredRow]:
    for path, label, split in zip(shard.paths, shard.labels, shard.splits, strict=True):
        data, error = None, None
        try:
            data = asking_again(lambda path=path: shard.storage.read(path))  # type: ignore[misc]
        except _NO_USE as problem:
            error = f"cannot be read ({problem.strerror or type(problem).__name__})"
        yield StoredRow(path, label, split, data, error)


def _read_tar(shard: InputShard) -> Iterator[StoredRow]:
    """Reads a tar file from its start to its end. The files of an example must be neighbours."""
    (name,), (split,) = shard.paths, shard.splits
    with shard.storage.open(name) as file:
        try:
            with tarfile.open(fileobj=file, mode="r|", encoding="utf-8") as archive:
                for images, texts in _examples(archive):
                    label = _label(f"{name}/{images[0][0]}", texts) if texts else None
                    for member, data, error in images:
                        below = PurePosixPath(member).parts
                        own = label if texts else below[-2] if len(below) > 1 else None
                        yield StoredRow(f"{name}/{member}", own, split, data, error)
                end = archive.offset
            # tarfile takes the end of a truncated file for the end of the archive.
            file.seek(end)
            if file.read(512) != bytes(512):
                raise tarfile.ReadError(f"it ends or is damaged at byte {end:,}")
        except tarfile.TarError as error:
            raise InputError(
                f"{name}: is damaged, cut off, or not a tar file without compression ({error}); "
                "copy it again."
            ) from error


_Image = tuple[str, bytes | None, str | None]


def _examples(archive: tarfile.TarFile) -> Iterator[tuple[list[_Image], dict[str, bytes]]]:
    """Yields the images of each example of a WebDataset, with its other files by suffix."""
    last: str | None = None
    images: list[_Image] = []
    texts: dict[str, bytes] = {}
    for member in archive:
        # tarfile keeps all, which takes a kilobyte each.
        archive.members = []  # type: ignore[attr-defined]
        name = member.name.removeprefix("./")
        path = PurePosixPath(name)
        if member.isdir() or any(map(is_clutter, path.parts)):
            continue
        key = f"{path.parent}/{path.name.split('.')[0]}"
        if key != last and images:
            yield images, texts
        if key != last:
            last, images, texts = key, [], {}
        if is_any_image_name(path.name):
            images.append((name, *_member(archive, member)))
        elif path.suffix in (".cls", ".json"):
            texts[path.suffix] = _member(archive, member)[0] or b""
    if images:
        yield images, texts


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[bytes | None, str | None]:
    if not member.isreg() or member.issparse():
        return None, "is a link or device, not an image file"
    if member.size > _MAX_BYTES:
        return None, "is larger than 1 GiB, too large for an image"
    file = archive.extractfile(member)
    assert file is not None  # A regular file has contents.
    data = file.read()
    if len(data) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    return data, None


def _label(where: str, texts: Mapping[str, bytes]) -> str | None:
    """Returns the class that the files beside an image tell."""
    try:
        if ".cls" in texts:
            return texts[".cls"].decode().strip() or None
        content = json.loads(texts[".json"])
        value = next((content[key] for key in _LABEL_KEYS if key in content), None)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{where}: the file with its label cannot be read ({error}).") from error
    return label_text(value, where)


def _read_parquet(shard: InputShard) -> Iterator[StoredRow]:
    import pyarrow
    import pyarrow.parquet

    (name,), (split,) = shard.paths, shard.splits
    with shard.storage.open(name) as opened:
        try:
            file = pyarrow.parquet.ParquetFile(opened)
            image, label, names = _parquet_columns(name, file.schema_arrow)
            has_splits = split is None and "split" in file.schema_arrow.names
            columns = [image, *([label] if label else []), *(["split"] if has_splits else [])]
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS_AT_A_TIME, columns=columns):
                for row in batch.to_pylist():
                    where = f"{name}[{number}]"
                    data, error = _image_bytes(row[image])
                    own = None if label is None else _class_name(row[label], names, where)
                    part = split_text(row["split"]) if has_splits else split
                    yield StoredRow(where, own, part, data, error)
                    number += 1
        except pyarrow.ArrowException as error:
            raise InputError(f"{name}: cannot be read as Parquet ({error}).") from error


def _parquet_columns(name: str, schema: Any) -> tuple[str, str | None, list[str] | None]:
    """Returns the columns of images and of labels, and the names of the classes by number."""
    binary = ("binary", "large_binary")
    images = [
        field.name
        for field in schema
        if str(field.type) in binary or str(field.type).startswith("struct<bytes: ")
    ]
    if len(images) != 1:
        raise InputError(
            f"{name}: has {len(images)} columns of image bytes; expected one (it has "
            f"{', '.join(schema.names)})."
        )
    label = next((each for each in schema.names if each.lower() in _LABEL_KEYS), None)
    stored = (schema.metadata or {}).get(b"huggingface")
    names = None
    if stored and label:
        try:
            features = json.loads(stored).get("info", {}).get("features", {})
            names = features.get(label, {}).get("names")
        except (ValueError, AttributeError) as error:
            raise InputError(
                f"{name}: what Hugging Face notes of its columns cannot be read ({error})."
            ) from error
    return images[0], label, names


def _image_bytes(value: Any) -> tuple[bytes | None, str | None]:
    data = value["bytes"] if isinstance(value, dict) else value
    return (None, "has no image") if data is None else (data, None)


def _class_name(value: Any, names: list[str] | None, where: str) -> str | None:
    if names is not None and isinstance(value, int) and value >= 0:
        if value >= len(names):
            raise InputError(f"{where}: has the label {value}, and there are {len(names)} names.")
        value = names[value]
    return label_text(value, where)
