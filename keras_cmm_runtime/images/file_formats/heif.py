"""Reading HEIF files, the photos of phones."""

import io
from typing import Any

from PIL import Image

from keras_cmm_runtime.errors import InputError


def open_heif(data: bytes) -> Image.Image:
    """Opens a HEIF file with pillow-heif, which turns it upright.

    Args:
        data: The file.

    Raises:
        InputError: If pillow-heif is not installed.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise InputError(
            "it is a HEIC photo; run `pip install 'keras-cmm[heif]'`, or convert it to JPEG"
        ) from error
    opener: Any = HeifImageFile
    try:
        image: Image.Image = opener(io.BytesIO(data))
    except SyntaxError as error:
        raise InputError(f"it is a HEIC photo, but damaged or of a rare kind: {error}") from error
    return image
