"""Images in zip and tar archives."""

import functools
import json
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from keras_cmm.data.sources.class_names import number_classes, renumber_classes
from keras_cmm.data.sources.folders import (
    is_image_name,
    is_other_image_name,
    warn_of_other_images,
)
from keras_cmm.data.sources.stored_image import StoredImage
from keras_cmm.data.sources.stored_images import StoredImages
from keras_cmm.errors import InputError
from keras_cmm.utils import listed, refuse_special_file, warn

_MAX_BYTES = 2**30
# Files that are this large and this much smaller in the archive are traps.
_MAX_INFLATED, _MAX_RATIO = 2**26, 100
_LABEL_KEYS = ("label", "cls", "class", "class_name")

# Path in the archive -> how to read that file.
_Members = dict[str, "functools.partial[bytes]"]


@dataclass(frozen=True, eq=False)
class ArchiveSource(StoredImages):
    """Labelled images in a zip or tar archive, which is never unpacked.

    It is an `ImageSource`, and reads each image from the archive when it is needed.

    Example:
        >>> import tempfile, zipfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "photos.zip")
        ...     with zipfile.ZipFile(path, "w") as archive:
        ...         for name in ("photos/cat/1.png", "photos/dog/1.png"):
        ...             archive.writestr(name, b"...")
        ...     source = ArchiveSource.from_file(path)
        ...     data = source.images[0].read_bytes()
        >>> source.class_names, source.keys(), data
        (('cat', 'dog'), ['cat/1.png', 'dog/1.png'], b'...')
    """

    @classmethod
    def from_file(cls, path: str | Path, class_names: Sequence[str] | None = None) -> Self:
        """Lists the images of an archive.

        An archive with `.cls` or `.json` files is a WebDataset: the class of `key.jpg` is the text
        of `key.cls`, or `label`, `cls`, `class` or `class_name` in `key.json`. If these classes are
        numbers, `class_names` or a file `classnames.txt` beside the archive must name them, one
        name a line. Any other archive must have one folder for each class, perhaps inside a common
        folder. Its images have the same identities as in `ImageList.from_folder`.

        Args:
            path: A `.zip` file, or a `.tar` file without compression.
            class_names: Names and order of the classes, such as those of a trained model. Defaults
                to the names that are found, sorted.

        Returns:
            The images, sorted by path in the archive.

        Raises:
            InputError: If the file is no such archive, is encrypted or damaged, has no labelled
                images, has one class only (where `class_names` is not given), or has classes
                outside `class_names`.
        """
        path = Path(path)
        members = _visible_members(path, _list_members(path))
        images = sorted(name for name in members if is_image_name(Path(name)))
        warn_of_other_images([path / name for name in members if is_other_image_name(Path(name))])
        if not images:
            raise InputError(f"{path}: there are no images in it.")
        keys = {_webdataset_key(name) for name in images}
        labels = {
            name: read
            for name, read in members.items()
            if PurePosixPath(name).suffix in (".cls", ".json") and _webdataset_key(name) in keys
        }
        if labels:
            found = [_webdataset_label(path, name, labels) for name in images]
            names = images
        else:
            names = _without_common_folder(images, class_names or ())
            if any("/" not in name for name in names):
                raise InputError(
                    f"{path}: images lie directly in it; each class needs its own folder of "
                    "images, or each image a .cls file."
                )
            found = [name.split("/")[0] for name in names]
        numbers = [label for label in found if isinstance(label, int)]
        if len(numbers) == len(found):
            known, ids = _name_numbers(path, numbers, class_names)
        else:
            known, ids = number_classes(path, [str(label) for label in found], class_names)
        stored = tuple(StoredImage(f"{path}/{name}", members[name]) for name in images)
        return cls(stored, ids, known, tuple(names))


def _list_members(path: Path) -> _Members:
    refuse_special_file(path)
    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        return _list_zip(path) if is_zip else _list_tar(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except InputError:
        raise
    # A damaged archive can fail in any of these ways.
    except (tarfile.TarError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{path}: is damaged, or neither a zip archive nor a tar archive without compression "
            f"({' '.join(str(error).split())}); uncompress a .tar.gz first."
        ) from error


def _list_zip(path: Path) -> _Members:
    members: _Members = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.flag_bits & 1:
                raise InputError(f"{path}: is encrypted; unpack it with its password.")
            if not info.is_dir():
                members[info.filename] = functools.partial(_read_zip_member, path, info)
    return members


def _list_tar(path: Path) -> _Members:
    members: _Members = {}
    with tarfile.open(path, "r:") as archive:
        for info in archive:
            if info.isdir():
                continue
            if info.isreg() and not info.issparse():
                read = functools.partial(
                    _read_tar_member, path, info.name, info.offset_data, info.size
                )
            else:
                read = functools.partial(
                    _refuse, f"{path}/{info.name}: is a link or device, not an image file."
                )
            members[info.name.removeprefix("./")] = read
        end = archive.offset
    # tarfile takes a damaged header, or the end of a truncated file, for the end of the archive.
    if _read_at(path, end, 512) != bytes(512):
        raise tarfile.ReadError(f"it is cut off, or damaged at byte {end:,}")
    return members


def _read_zip_member(path: Path, info: zipfile.ZipInfo) -> bytes:
    """Reads one file without listing the archive again, which is slow if it has many files."""
    name = f"{path}/{info.filename}"
    if info.file_size > _MAX_BYTES:
        raise InputError(f"{name}: is larger than 1 GiB, too large for an image.")
    if info.file_size > _MAX_INFLATED and info.file_size > _MAX_RATIO * info.compress_size:
        raise InputError(
            f"{name}: would grow {info.file_size // max(info.compress_size, 1)}-fold to "
            f"{info.file_size:,} bytes, as no image does; unpack the archive if it is one."
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{name}: is compressed in a rare way; pack the archive with deflate.")
    data = _read_at(path, info.header_offset, 30)
    # The two lengths in the file's own header may differ from those in the archive's list.
    skip = int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
    data = _read_at(path, info.header_offset + 30 + skip, info.compress_size)
    if info.compress_type == zipfile.ZIP_DEFLATED:
        try:
            # One byte more than announced is enough to see that there is more.
            data = zlib.decompressobj(-15).decompress(data, info.file_size + 1)
        except zlib.error as error:
            raise InputError(f"{name}: is damaged in the archive ({error}).") from error
    if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise InputError(f"{name}: is damaged in the archive (its checksum is wrong).")
    return data


def _read_tar_member(path: Path, name: str, offset: int, size: int) -> bytes:
    if size > _MAX_BYTES:
        raise InputError(f"{path}/{name}: is larger than 1 GiB, too large for an image.")
    data = _read_at(path, offset, size)
    if len(data) != size:
        raise InputError(f"{path}/{name}: is cut off, and with it the archive; copy it again.")
    return data


def _read_at(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _refuse(reason: str) -> bytes:
    raise InputError(reason)


def _visible_members(path: Path, members: _Members) -> _Members:
    """Leaves out hidden files, and names that lead out of the archive, as attackers write them."""
    visible: _Members = {}
    outside = []
    for name, read in members.items():
        parts = name.split("/")
        if ".." in parts or name.startswith("/") or "\\" in name or ":" in parts[0]:
            outside.append(name)
        elif not any(part.startswith(".") or part == "__MACOSX" for part in parts):
            visible[name] = read
    if outside:
        warn(f"{path}: left out, since their paths lead out of the archive: {listed(outside)}.")
    return visible


def _without_common_folder(names: Sequence[str], class_names: Sequence[str]) -> list[str]:
    """Drops the folder around the class folders, if there is one."""
    split = [name.split("/") for name in names]
    while (
        len({parts[0] for parts in split}) == 1
        and split[0][0] not in class_names
        and all(len(parts) > 2 for parts in split)
    ):
        split = [parts[1:] for parts in split]
    return ["/".join(parts) for parts in split]


def _webdataset_key(name: str) -> str:
    """Returns what the files of one example share: their path up to the name's first dot."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.split('.')[0]}".removeprefix("/")


def _webdataset_label(path: Path, image: str, labels: _Members) -> int | str:
    """Returns the class of an image of a WebDataset, as a number or a name."""
    key = _webdataset_key(image)
    where = f"{path}/{key}"
    value: Any = None
    try:
        if f"{key}.cls" in labels:
            value = labels[f"{key}.cls"]().decode().strip()
        elif f"{key}.json" in labels:
            content = json.loads(labels[f"{key}.json"]())
            value = next((content[name] for name in _LABEL_KEYS if name in content), None)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: the file with its label cannot be read ({error}).") from error
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise InputError(
            f"{where}: has no label; expected {key}.cls, or {key}.json with a "
            f"{' or '.join(_LABEL_KEYS)}, with the name or number of the class."
        )
    return value


def _name_numbers(
    path: Path, labels: Sequence[int], class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Names classes that are numbers, by the file beside the archive or by `class_names`."""
    beside = path.parent / "classnames.txt"
    refuse_special_file(beside)
    try:
        names = beside.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        if class_names is None:
            raise InputError(
                f"{path}: its classes are numbers; put their names into {beside}, a name a line, "
                "or give `class_names`."
            ) from None
        return renumber_classes(path, labels, class_names, None)
    return renumber_classes(path, labels, names, class_names)
