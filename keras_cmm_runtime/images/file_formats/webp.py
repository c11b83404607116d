"""Checking WebP files."""

import struct

from PIL import Image

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.file_formats.checked_file import CUT_OFF, ENDS_IN_ZEROS, CheckedFile


def check_webp(data: bytes) -> CheckedFile:
    """Checks the length of the file and the size of the canvas.

    Args:
        data: The file.

    Raises:
        InputError: If the file is cut off or ends in zeros.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise InputError(CUT_OFF)
    if data[:end].endswith(bytes(64)):
        raise InputError(ENDS_IN_ZEROS)
    if data[12:16] == b"VP8X":
        # libwebp reserves memory for the whole canvas before Pillow can see its size.
        low = struct.unpack_from("<HBHB", data.ljust(30, b"\0"), 24)
        width, height = low[0] + 65536 * low[1] + 1, low[2] + 65536 * low[3] + 1
        if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
    return CheckedFile(data)
