"""Turning pictures upright."""

import re
import struct

from PIL import Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TAG, _SHORT = 0x0112, 3
_MAX_TAGS = 1000
_XMP = re.compile(rb"""tiff:Orientation(?:\s*=\s*["']|>)([1-8])""")


def exif_orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Returns the orientation that EXIF states, else that of XMP, else 1.

    Pillow's own reader fails or warns where other tags are broken. This one reads a single tag.

    Args:
        exif: EXIF as it is stored, with or without its `Exif` prefix.
        xmp: XMP, an XML text.
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    try:
        value = _first_directory(exif)
    except struct.error:
        value = None
    if value is None:
        found = _XMP.search(xmp)
        value = int(found[1]) if found else 1
    return value if value in _TURNS else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Returns the image, turned as its orientation says."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _first_directory(exif: bytes) -> int | None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    (place,) = struct.unpack_from(order + "I", exif, 4)
    (tags,) = struct.unpack_from(order + "H", exif, place)
    for number in range(min(tags, _MAX_TAGS)):
        tag, kind, count, value = struct.unpack_from(order + "HHIH", exif, place + 2 + 12 * number)
        if (tag, kind, count) == (_TAG, _SHORT, 1):
            return value
    return None
