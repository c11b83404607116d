"""Decoding image files."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from keras_cmm_runtime.errors import InputError, TooManyPixelsError
from keras_cmm_runtime.images.file_formats import (
    CheckedFile,
    check_bmp,
    check_boxes,
    check_gif,
    check_jpeg,
    check_png,
    check_ppm,
    check_tiff,
    check_webp,
    describe_tiff,
    exif_orientation,
    is_cut_short,
    open_heif,
    upright,
)
from keras_cmm_runtime.images.pixel_values import to_uint8

# Other files that are often named like images, by what they contain near their start.
_OTHER_KINDS = {
    b"<svg": "an SVG drawing; draw it to PNG first",
    b"<!doctype html": "a web page, perhaps of a download that failed",
    b"<html": "a web page, perhaps of a download that failed",
    b"version https://git-lfs": "a Git LFS pointer; run `git lfs pull` for the image itself",
    b"%pdf": "a PDF document",
}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_EITHER_BRANDS = (b"mif1", b"msf1")


class _Format(NamedTuple):
    name: str
    check: Callable[[bytes], CheckedFile]


# Some formats of Pillow are left out: TGA has no signature, so any damaged file could pass for one;
# EPS runs a program; HDF5 is not a picture; JPEG 2000 does not show that a file is cut off.
_FORMATS = {
    b"\xff\xd8\xff": _Format("JPEG", check_jpeg),
    b"\x89PNG\r\n\x1a\n": _Format("PNG", check_png),
    b"GIF87a": _Format("GIF", check_gif),
    b"GIF89a": _Format("GIF", check_gif),
    b"BM": _Format("BMP", check_bmp),
    b"II*\0": _Format("TIFF", check_tiff),
    b"MM\0*": _Format("TIFF", check_tiff),
    b"II+\0": _Format("TIFF", check_tiff),
    b"MM\0+": _Format("TIFF", check_tiff),
    **{
        b"P" + kind: _Format("PPM", check_ppm)
        for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"f")
    },
}
_WEBP = _Format("WEBP", check_webp)
_AVIF = _Format("AVIF", check_boxes)
_HEIF = _Format("HEIF", check_boxes)


def decode(data: bytes, name: str) -> Image.Image:
    """Decodes an image file; see `read_image`.

    Args:
        data: The file.
        name: Its name for messages.

    Returns:
        A picture of mode RGB, upright.

    Raises:
        InputError: If it is not a whole image of a known format.
    """
    with _reasons(name, data):
        try:
            return _decode(data)
        except Image.DecompressionBombWarning:
            raise
        # Where warnings are errors, broken EXIF would make a sound picture unreadable.
        except Warning:
            with _warnings_lock, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _decode(data)


def _decode(data: bytes) -> Image.Image:
    kind = _format(data)
    if kind is None:
        raise UnidentifiedImageError
    file = kind.check(data)
    with _open(file.data, kind.name) as image:
        _check_pixels(image)
        image.load()
        if kind.name == "JPEG" and is_cut_short(file.data, image):
            raise InputError("it is cut off; copy or download it again")
        orientation = file.orientation
        if kind.name == "HEIF":
            orientation = 1  # pillow-heif has turned it
        elif orientation is None:
            orientation = exif_orientation(_info(image, "exif"), _info(image, "xmp"))
        return to_rgb(upright(image, orientation))


def decode_pil(image: Image.Image, name: str) -> Image.Image:
    """Returns a PIL image, which may not be loaded yet, as `decode` does."""
    with _reasons(name):
        image.load()
        try:
            orientation = image.getexif().get(0x0112, 1)
        # Pillow's reader of EXIF raises nearly anything.
        except Exception:
            orientation = 1
        picture = to_rgb(upright(image, orientation))
        # Whoever changes the picture must not change the user's own.
        return picture.copy() if picture is image else picture


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns an image in mode RGB, transparent parts white, 16-bit values scaled to 8 bits.

    Raises:
        InputError: If its values have another range.
    """
    if image.mode.startswith("I"):
        # 16-bit greyscale. Pillow's own conversion clips at 255 instead of scaling.
        values = np.asarray(image).astype("int64")
        if values.min() < 0 or values.max() > 65535:
            raise InputError(
                "values of a greyscale image must lie in [0, 65535]. "
                f"Received: {values.min()} to {values.max()}"
            )
        # An image of 32 bits with values up to 255 is read like an array of integers.
        if image.mode != "I" or values.max() > 255:
            values = values // 257
        return Image.fromarray(values.astype("uint8")).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(to_uint8(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


@contextmanager
def _reasons(name: str, data: bytes = b"") -> Iterator[None]:
    """Turns whatever reading an image raises into one error with the image's name."""
    try:
        with _strictly():
            yield
    except UnidentifiedImageError:
        reason = _what_else(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooManyPixelsError(
            f"{name}: cannot be read as an image (it has more than {Image.MAX_IMAGE_PIXELS:,} "
            "pixels; make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS)."
        ) from None
    # Pillow's decoders raise nearly anything on a damaged file.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
    else:
        return
    raise InputError(f"{name}: cannot be read as an image ({reason}).")


_warnings_lock = threading.Lock()
_lock = threading.Lock()
_readers = 0
_was_lenient = False


@contextmanager
def _strictly() -> Iterator[None]:
    """Lets Pillow refuse truncated images, even if other code has told it to fill them up.

    Pillow's switch is one for the process, so the last of all threads that read sets it back.
    """
    global _readers, _was_lenient
    with _lock:
        _readers += 1
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            ImageFile.LOAD_TRUNCATED_IMAGES, _was_lenient = False, True
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if not _readers and _was_lenient:
                ImageFile.LOAD_TRUNCATED_IMAGES, _was_lenient = True, False


def _format(data: bytes) -> _Format | None:
    for length in (8, 6, 4, 3, 2):
        if data[:length] in _FORMATS:
            return _FORMATS[data[:length]]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _WEBP
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        brands = data[16 : min(int.from_bytes(data[:4], "big"), 256)]
        if brand in _HEIF_BRANDS or (brand in _EITHER_BRANDS and b"avif" not in brands):
            return _HEIF
        return _AVIF if brand in (b"avif", b"avis", *_EITHER_BRANDS) else None
    return None


def _open(data: bytes, format_name: str) -> Image.Image:
    if format_name == "HEIF":
        return open_heif(data)
    Image.init()
    if format_name not in Image.OPEN:
        raise InputError(f"this build of Pillow does not read {format_name}; update Pillow")
    return Image.open(io.BytesIO(data), formats=(format_name,))


def _check_pixels(image: Image.Image) -> None:
    """Raises an error for too many pixels. Pillow only warns, once, and does not name the file."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError


def _info(image: Image.Image, key: str) -> bytes:
    value = image.info.get(key, b"")
    return value if isinstance(value, bytes) else b""


def _what_else(data: bytes) -> str:
    """Says what a file is if it has none of the formats."""
    if not data:
        return "the file is empty"
    if not data.strip(b"\0"):
        return "it holds zeros only"
    start = data[:1024].lower()
    kinds = [kind for sign, kind in _OTHER_KINDS.items() if sign in start]
    if kinds:
        return f"it is {kinds[0]}"
    known = _format(data)
    described = describe_tiff(data) if known and known.name == "TIFF" else None
    return described or "damaged, or of no known image format"
