"""A picture that a page holds itself."""

from __future__ import annotations

import base64
import io
from typing import Any

from keras_cmm.clip import read_image

_SIZE = 160


def thumbnail(image: Any) -> str:
    """Returns a picture as a data URI of a WebP file, at most 160 pixels wide and high.

    Args:
        image: What `keras_cmm.clip.read_image` takes.

    Raises:
        InputError: If the picture cannot be read.
    """
    picture = read_image(image)
    picture.thumbnail((_SIZE, _SIZE))
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
