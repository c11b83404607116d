"""Checking BMP and PPM files."""

import re

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.file_formats.checked_file import CUT_OFF, CheckedFile

_MAX_HEADER = 2**16
# Pillow decodes these forms one value at a time, in 2 to 5 millionths of a second.
_MAX_TEXT_VALUES = 12_000_000
_MAX_RUNS = 2**22
_MAX_RUN_WIDTH = 2**16

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_NUMBER = _GAP + rb"(\d{1,9})"
_HEADER = re.compile(rb"P[14]" + 2 * _NUMBER + rb"\s|P[2356]" + 3 * _NUMBER + rb"\s")


def check_bmp(data: bytes) -> CheckedFile:
    """Checks that a run-length encoded picture can be decoded in a short time.

    Args:
        data: The file.

    Raises:
        InputError: If it is too large.
    """
    is_encoded = data[14:18] != b"\x0c\0\0\0" and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0")
    width = int.from_bytes(data[18:22], "little")
    if is_encoded and (len(data) > _MAX_RUNS or width > _MAX_RUN_WIDTH):
        raise InputError("it is a large BMP of run lengths, which are slow; convert it to PNG")
    return CheckedFile(data, 1)


def check_ppm(data: bytes) -> CheckedFile:
    """Checks the length of the header, and that the picture can be decoded in a short time.

    Args:
        data: The file.

    Returns:
        The file. Forms that Pillow is slow to read become the binary one of 8 bits, or of 16 bits
        if it is grey and has more.

    Raises:
        InputError: If the header is too long, or the picture too large or cut off.
    """
    kind = data[1:2]
    if kind == b"f":
        return CheckedFile(data, 1)
    # Pillow reads a header byte by byte.
    header = _HEADER.match(data[:_MAX_HEADER])
    if not header:
        raise InputError(f"its header is damaged or longer than {_MAX_HEADER:,} bytes")
    if kind in b"14":
        return CheckedFile(data, 1)
    width, height, most = map(int, header.groups()[2:])
    count = width * height * (3 if kind in b"36" else 1)
    top = 65535 if kind in b"25" and most > 255 else 255
    if kind in b"56" and most == top:
        return CheckedFile(data, 1)
    if not 0 < most < 65536:
        raise InputError("its largest value must lie in [1, 65535]")
    if kind in b"23":
        values = _numbers(data[header.end() :], count)
    else:
        stored = np.dtype("u1" if most < 256 else ">u2")
        if len(data) - header.end() < count * stored.itemsize:
            raise InputError(CUT_OFF)
        values = np.frombuffer(data, stored, count, header.end())
    scaled = np.minimum(np.rint(values / most * top), top).astype("u1" if top == 255 else ">u2")
    start = b"P%c %d %d %d\n" % (b"5" if kind in b"25" else b"6", width, height, top)
    return CheckedFile(start + scaled.tobytes(), 1)


def _numbers(text: bytes, count: int) -> npt.NDArray[np.int64]:
    if count > _MAX_TEXT_VALUES:
        raise InputError(f"it has {count:,} values as text, which are slow; convert it to PNG")
    words = re.sub(rb"#[^\r\n]*", b"", text).split(maxsplit=count)[:count]
    if len(words) < count:
        raise InputError(CUT_OFF)
    if not all(map(bytes.isdigit, words)):
        raise InputError("it is damaged: a value is no number")
    return np.fromiter(map(int, words), "int64", count)
