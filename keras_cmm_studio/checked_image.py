"""Looking at an image before it is kept."""

from __future__ import annotations

import hashlib
import io

from PIL import Image

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import read_image
from keras_cmm_studio.named_bytes import NamedBytes

_SUFFIXES = {"JPEG": "jpg", "TIFF": "tif", "MPO": "jpg"}


def checked_image(name: str, data: bytes) -> str:
    """Reads an image and returns the name that its file gets.

    Args:
        name: Its name, for messages.
        data: The file.

    Returns:
        The beginning of the file's SHA-256, with the suffix of its format.

    Raises:
        InputError: If it is no whole image of a known format.

    Example:
        >>> checked_image("note.txt", b"Hello")
        Traceback (most recent call last):
        ...
        keras_cmm_runtime.errors.InputError: note.txt: cannot be read as an image (damaged, or of \
no known image format).
    """
    read_image(NamedBytes(name, data))
    return f"{hashlib.sha256(data).hexdigest()[:32]}.{_suffix(data)}"


def _suffix(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "avif" if b"avi" in data[8:32] else "heic"
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = image.format or ""
    # Pillow raises nearly anything; the image was read, so it is one.
    except Exception as error:
        raise InputError("the format of the image is not known; save it as PNG.") from error
    suffix = _SUFFIXES.get(kind, kind.lower())
    return suffix if suffix.isalpha() and len(suffix) in (3, 4) else "img"
