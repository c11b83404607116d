"""Checking TIFF files."""

import struct
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.file_formats.checked_file import CUT_OFF, CheckedFile

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _BANDS, _ROWS, _PLANES = 256, 257, 258, 259, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT, _SAMPLE_FORMAT = 322, 323, 339
_PARTS = ((273, 279), (324, 325))  # offsets and byte counts, of strips and of tiles
_READ = {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _BANDS, _ROWS, _PLANES}
_READ |= {_TILE_WIDTH, _TILE_HEIGHT, _SAMPLE_FORMAT, *_PARTS[0], *_PARTS[1]}
_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
_BYTES = {2: 1, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 17: 8, 18: 8}
_BYTES |= {1: 1, 3: 2, 4: 4, 16: 8}
_MAX_BANDS = 6  # Pillow's own limit
_MAX_TAGS = 4096
_MAX_PARTS = 200_000

_Tags = dict[int, npt.NDArray[np.unsignedinteger]]


class _Form(NamedTuple):
    endian: Literal["little", "big"]
    order: str
    head: str  # offset of the first directory, after the first four bytes
    entries: str
    entry: str


_FORMS = {
    b"II*\0": _Form("little", "<", "<I", "<H", "<HHI4s"),
    b"MM\0*": _Form("big", ">", ">I", ">H", ">HHI4s"),
    b"II+\0": _Form("little", "<", "<4xQ", "<Q", "<HHQ8s"),
    b"MM\0+": _Form("big", ">", ">4xQ", ">Q", ">HHQ8s"),
}


def check_tiff(data: bytes) -> CheckedFile:
    """Checks that all strips or tiles of the first page are there.

    Pillow leaves missing ones black.

    Args:
        data: The file.

    Raises:
        InputError: If the file is cut off, or has too many tags or strips.
    """
    tags = _first_directory(data)
    if _number(tags, _BANDS, 1) > _MAX_BANDS:
        raise InputError(_describe(tags))
    if not any(offsets in tags for offsets, _ in _PARTS):
        raise InputError(CUT_OFF)
    size = _number(tags, _WIDTH, 0), _number(tags, _HEIGHT, 0)
    for offsets, counts in _PARTS:
        if offsets not in tags:
            continue
        part = _strip(tags) if offsets == _PARTS[0][0] else _tile(tags)
        if min(part) < 1:
            raise InputError("it is damaged: its strips or tiles have no size")
        planes = _number(tags, _BANDS, 1) if _number(tags, _PLANES, 1) == 2 else 1
        expected = planes * -(-size[0] // part[0]) * -(-size[1] // part[1])
        if expected > _MAX_PARTS:
            raise InputError(f"it has {expected:,} strips or tiles; save it again with fewer")
        places = tags[offsets][:expected].astype("float64")
        lengths = tags.get(counts, np.empty(0, "u4"))[:expected].astype("float64")
        is_packed = _number(tags, _COMPRESSION, 1) != 1
        missing = expected - len(places) + int((places == 0).sum())
        if is_packed and len(lengths) == len(places):
            missing += int(((lengths == 0) | (places + lengths > len(data))).sum())
        if missing:
            raise InputError(f"{missing} of its {expected} strips or tiles are missing; {CUT_OFF}")
    return CheckedFile(data, 1)


def describe_tiff(data: bytes) -> str | None:
    """Says what a TIFF file is that Pillow does not know, or returns `None` if it is damaged."""
    try:
        tags = _first_directory(data)
    except InputError:
        return None
    return _describe(tags) if _WIDTH in tags else None


def _describe(tags: _Tags) -> str:
    bits = _number(tags, _BITS, 1)
    bands = _number(tags, _BANDS, 1)
    kind = {2: "signed integers", 3: "floats"}.get(_number(tags, _SAMPLE_FORMAT, 1), "integers")
    return (
        f"it is a TIFF of {bands} band{'s' if bands != 1 else ''} of {bits}-bit {kind}; save one "
        "band, or the three that stand for red, green and blue, with 8 bits each"
    )


def _first_directory(data: bytes) -> _Tags:
    """Returns the tags of the first page that hold integers."""
    form = _FORMS[data[:4]]
    try:
        (place,) = struct.unpack_from(form.head, data, 4)
        (entries,) = struct.unpack_from(form.entries, data, place)
        if entries > _MAX_TAGS:
            raise InputError(f"it is damaged: it has {entries:,} tags")
        place += struct.calcsize(form.entries)
        size = struct.calcsize(form.entry)
        rows = [
            struct.unpack_from(form.entry, data, place + number * size) for number in range(entries)
        ]
    except (struct.error, OverflowError):
        raise InputError(CUT_OFF) from None
    tags: _Tags = {}
    total = 0
    for tag, kind, count, value in rows:
        size = count * _BYTES.get(kind, 0)
        # Many tags could name the same bytes, which Pillow would copy for each.
        total += size
        if total > len(data):
            raise InputError("it is damaged: its tags are larger than the file")
        start = 0
        content = value
        if size > len(value):
            start, content = int.from_bytes(value, form.endian), data
        if tag in _READ and kind in _TYPES and count and start + size <= len(content):
            dtype = np.dtype(form.order + _TYPES[kind])
            tags.setdefault(tag, np.frombuffer(content, dtype, count, start))
    return tags


def _number(tags: _Tags, tag: int, default: int) -> int:
    return int(tags[tag][0]) if tag in tags else default


def _strip(tags: _Tags) -> tuple[int, int]:
    height = _number(tags, _HEIGHT, 0)
    return _number(tags, _WIDTH, 0), min(_number(tags, _ROWS, height), height)


def _tile(tags: _Tags) -> tuple[int, int]:
    return _number(tags, _TILE_WIDTH, 0), _number(tags, _TILE_HEIGHT, 0)
