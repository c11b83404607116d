"""The files in zip and tar archives."""

import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import refuse_special_file, warn

_MAX_BYTES = 2**30
_MAX_HEADER = 2**20
# Files that are this large and this much smaller in the archive are traps.
_MAX_INFLATED, _MAX_RATIO = 2**26, 100
_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One file in a zip archive, read without listing the archive again, which can be slow."""

    path: Path
    name: str
    packed_name: bytes
    offset: int
    compressed_size: int
    size: int
    checksum: int
    compression: int

    def read(self) -> bytes:
        """Returns the bytes of the file."""
        name = f"{self.path}/{self.name}"
        if self.size > _MAX_BYTES:
            raise InputError(f"{name}: is larger than 1 GiB, too large for an image.")
        if self.size > _MAX_INFLATED and self.size > _MAX_RATIO * self.compressed_size:
            raise InputError(
                f"{name}: would grow {self.size // max(self.compressed_size, 1)}-fold to "
                f"{self.size:,} bytes, as no image does; unpack the archive if it is one."
            )
        if self.compression not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{name}: is compressed in a rare way; pack the archive with deflate.")
        try:
            # One byte more than announced is enough to see that there is more.
            data = self._unpack(self.compressed_size, self.size + 1)
        except zlib.error as error:
            raise InputError(f"{name}: is damaged in the archive ({error}).") from error
        if len(data) != self.size or zlib.crc32(data) != self.checksum:
            raise InputError(f"{name}: is damaged in the archive (its checksum is wrong).")
        return data

    def start(self) -> bytes:
        """Returns the first 12 bytes, or fewer if they cannot be read."""
        try:
            return self._unpack(min(self.compressed_size, 512), 12)[:12]
        except (InputError, zlib.error):
            return b""

    def _unpack(self, packed: int, most: int) -> bytes:
        header = _read_at(self.path, self.offset, 30)
        # The two lengths in the file's own header may differ from those in the archive's list.
        name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        content = _read_at(self.path, self.offset + 30, name + extra + packed)
        # No checksum covers the names. They stand twice.
        if content[:name] != self.packed_name:
            raise InputError(
                f"{self.path}/{self.name}: is damaged in the archive (it has another name there)."
            )
        data = content[name + extra :]
        if self.compression == zipfile.ZIP_DEFLATED:
            return zlib.decompressobj(-15).decompress(data, most)
        return data


@dataclass(frozen=True, slots=True)
class TarMember:
    """One file in a tar archive. A link or device has the size `None`."""

    path: Path
    name: str
    offset: int
    size: int | None

    def read(self) -> bytes:
        """Returns the bytes of the file."""
        name = f"{self.path}/{self.name}"
        if self.size is None:
            raise InputError(f"{name}: is a link or device, not an image file.")
        if self.size > _MAX_BYTES:
            raise InputError(f"{name}: is larger than 1 GiB, too large for an image.")
        data = _read_at(self.path, self.offset, self.size)
        if len(data) != self.size:
            raise InputError(f"{name}: is cut off, and with it the archive; copy it again.")
        return data

    def start(self) -> bytes:
        """Returns the first 12 bytes, or fewer."""
        return _read_at(self.path, self.offset, min(self.size or 0, 12))


def list_members(path: Path) -> Iterator[tuple[str, ZipMember | TarMember]]:
    """Yields the path in the archive and the file, for each file in a zip or tar archive.

    A path has forward slashes. It may lead out of the archive, and may come twice.

    Raises:
        InputError: If the file is no such archive, is encrypted or damaged.
    """
    refuse_special_file(path)
    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        yield from _list_zip(path) if is_zip else _list_tar(path)
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


def _list_zip(path: Path) -> Iterator[tuple[str, ZipMember]]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    names = _zip_names(path, infos)
    for info, name in zip(infos, names, strict=True):
        if info.flag_bits & 1:
            raise InputError(f"{path}: is encrypted; unpack it with its password.")
        if not name.endswith("/"):
            yield (
                name,
                ZipMember(
                    path,
                    name,
                    _packed_name(info),
                    info.header_offset,
                    info.compress_size,
                    info.file_size,
                    info.CRC,
                    info.compress_type,
                ),
            )


def _zip_names(path: Path, infos: list[zipfile.ZipInfo]) -> list[str]:
    """Returns the names in a zip archive, of which few say in which encoding they are."""
    raw = [_raw_name(info) for info in infos]
    texts = [_unicode_name(info) or data for info, data in zip(infos, raw, strict=True)]
    unknown = [text for text in texts if isinstance(text, bytes)]
    try:
        # Linux and macOS write UTF-8 without saying so.
        names = [text if isinstance(text, str) else text.decode() for text in texts]
    except UnicodeDecodeError:
        # Old programs of Windows write its code page. zip's standard has this one only.
        names = [text if isinstance(text, str) else text.decode("cp437") for text in texts]
        wrong = [text.decode("cp437") for text in unknown if not text.isascii()]
        warn(
            f"{path}: its names are in an unknown encoding and may be read wrongly, such as "
            f"{wrong[0]!r}; pack the files again with names in UTF-8, as 7-Zip does."
        )
    return [_with_slashes(name.partition("\0")[0]) for name in names]


def _raw_name(info: zipfile.ZipInfo) -> bytes | str:
    """Returns the bytes of a name, or its text where the archive says that it is UTF-8."""
    return info.orig_filename if info.flag_bits & _UTF8_FLAG else _packed_name(info)


def _packed_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8_FLAG else "cp437")


def _unicode_name(info: zipfile.ZipInfo) -> str | None:
    """Returns the name in UTF-8 that some programs add, or `None`."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = (int.from_bytes(extra[at : at + 2], "little") for at in (0, 2))
        if kind == _UNICODE_PATH and size > 5:
            try:
                return extra[9 : 4 + size].decode()
            except UnicodeDecodeError:
                return None
        extra = extra[4 + size :]
    return None


def _with_slashes(name: str) -> str:
    """Turns the backslashes of a path around, which Windows' own programs write.

    As unzip does, only where there is no slash: elsewhere a backslash is a part of a name.
    """
    return name if "/" in name else name.replace("\\", "/")


def _list_tar(path: Path) -> Iterator[tuple[str, TarMember]]:
    with (
        _Headers(path) as headers,
        tarfile.open(fileobj=headers, mode="r:", encoding="utf-8") as archive,
    ):
        while (info := archive.next()) is not None:
            # tarfile keeps all, which takes a kilobyte each.
            archive.members = []  # type: ignore[attr-defined]
            if info.isdir():
                continue
            name = _with_slashes(info.name).removeprefix("./")
            size = info.size if info.isreg() and not info.issparse() else None
            yield name, TarMember(path, name, info.offset_data, size)
        end = archive.offset
    # tarfile takes a damaged header, or the end of a truncated file, for the end of the archive.
    if _read_at(path, end, 512) != bytes(512):
        raise tarfile.ReadError(f"it is cut off, or damaged at byte {end:,}")


class _Headers(io.FileIO):
    """A tar archive of which only headers are read, which are small unless they are made up."""

    def read(self, size: int | None = -1) -> Any:
        if size is None or not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError("a header in it is too large")
        return super().read(size)


def _read_at(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
