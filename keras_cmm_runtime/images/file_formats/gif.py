"""Checking GIF files."""

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.file_formats.checked_file import ENDS_IN_ZEROS, CheckedFile, cut_off

_IMAGE, _EXTENSION, _END = 0x2C, 0x21, 0x3B


def check_gif(data: bytes) -> CheckedFile:
    """Checks that all frames are there.

    Args:
        data: The file.

    Raises:
        InputError: If the file is cut off.
    """
    try:
        frames, is_ended = _walk(data)
    except IndexError:
        raise InputError(cut_off(data)) from None
    # Some writers leave out the end of a file of one frame, whose blocks end in one zero.
    if not is_ended and frames != 1:
        raise InputError(cut_off(data))
    if not is_ended and data.endswith(b"\0\0"):
        raise InputError(ENDS_IN_ZEROS)
    return CheckedFile(data, 1)


def _walk(data: bytes) -> tuple[int, bool]:
    """Returns the number of whole frames, and whether the end follows them."""
    place = 13 + _table(data[10])
    frames = 0
    while place < len(data) and data[place] != _END:
        if data[place] == _IMAGE:
            frames += 1
            place += 11 + _table(data[place + 9])
        elif data[place] == _EXTENSION:
            place += 2
        elif data[place] == 0:
            place += 1
            continue
        else:
            raise IndexError
        while size := data[place]:
            place += 1 + size
        place += 1
    return frames, place < len(data)


def _table(flags: int) -> int:
    """Returns the length of the colour table that the flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
