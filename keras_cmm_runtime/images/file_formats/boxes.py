"""Checking AVIF and HEIF files, which consist of boxes."""

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.file_formats.checked_file import (
    CUT_OFF,
    ENDS_IN_ZEROS,
    CheckedFile,
    cut_off,
)

_MAX_BOXES = 10_000


def check_boxes(data: bytes) -> CheckedFile:
    """Checks that all boxes of the file are there and that the last one does not end in zeros.

    Args:
        data: The file.

    Raises:
        InputError: If the file is cut off or ends in zeros.
    """
    place = 0
    for _ in range(_MAX_BOXES):
        size, start = int.from_bytes(data[place : place + 4], "big"), place + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        # Zeros may follow the last box. A size of 0 means the rest of the file.
        if place >= len(data) or not data[place : place + 8].strip(b"\0"):
            break
        if size == 0:
            place = len(data)
            break
        if size < start - place or place + size > len(data):
            raise InputError(cut_off(data))
        place += size
    else:
        raise InputError("it is damaged: it has too many boxes")
    if data[:place].endswith(bytes(64)):
        raise InputError(ENDS_IN_ZEROS)
    if not place:
        raise InputError(CUT_OFF)
    return CheckedFile(data)
