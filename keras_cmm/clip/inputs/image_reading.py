"""Reading images of any kind as RGB pictures."""

from __future__ import annotations

import functools
import io
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_cmm.errors import InputError

_BACKGROUND = "white"

# Some formats of Pillow are left out: TGA has no signature, so any damaged file could pass for one;
# EPS runs a program; HDF5 is not a picture; JPEG 2000 does not show that a file is cut off.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")

_MAX_BYTES = 2**30

# Other files that are often named like images, by what they contain near their start.
_OTHER_KINDS = {
    b"<svg": "an SVG drawing; draw it to PNG first",
    b"<!doctype html": "a web page, perhaps of a download that failed",
    b"<html": "a web page, perhaps of a download that failed",
    b"version https://git-lfs": "a Git LFS pointer; run `git lfs pull` for the image itself",
    b"%pdf": "a PDF document",
    b"ftypheic": "an HEIC photo; convert it to JPEG first",
}


def read_image(image: Any) -> Image.Image:
    """Reads an image as an RGB picture.

    Files may be JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or AVIF; their names do not matter. They are
    turned upright by their EXIF orientation. Transparent parts become white. An animation gives its
    first frame. 16-bit values are scaled to 8 bits.

    These files raise an error:

    - files that are cut off, and JPEG and WebP files with zeros in place of the last pixels;
    - images of more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, which is 89,478,485 by default;
    - files of more than 1 GiB.

    A file with a wrong bit raises an error if its format has checksums, as PNG does. JPEG has none.

    Args:
        image: one of
            - a path;
            - the `bytes` of an image file;
            - an object with `read_bytes()`, such as a `StoredImage` or a `zipfile.Path`;
            - a `PIL.Image.Image`;
            - an array or tensor of shape `(height, width, channels)`, with 1, 3 or 4 channels, or
              `(height, width)`, of integers or floats in [0, 255];
            - a float tensor of shape `(channels, height, width)` with values in [0, 1], as
              torchvision makes it.

    Returns:
        A `PIL.Image.Image` of mode RGB.

    Raises:
        InputError: If `image` is none of these, or cannot be read.

    Example:
        >>> import numpy as np
        >>> read_image(np.zeros((4, 6, 1), dtype="uint8")).size
        (6, 4)
    """
    data = file_bytes(image)
    if data is not None:
        return _decode(data, image_name(image))
    if isinstance(image, Image.Image):
        return _to_rgb(ImageOps.exif_transpose(image))
    return _to_rgb(Image.fromarray(_to_uint8(_to_numpy(image))))


def file_bytes(image: Any) -> bytes | None:
    """Returns the bytes of an image file.

    Args:
        image: what `read_image` takes.

    Returns:
        The bytes of the encoded image, or `None` for a PIL image, array or tensor.

    Raises:
        InputError: If a path is not a file, or a file cannot be read or is larger than 1 GiB.

    Example:
        >>> file_bytes(b"GIF89a")
        b'GIF89a'
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        return _read_path(Path(image), image_name(image))
    if not hasattr(image, "read_bytes"):
        return None
    try:
        return image.read_bytes()
    except InputError:
        raise
    # Each kind of archive and data set raises errors of its own.
    except Exception as error:
        raise InputError(f"{image_name(image)}: cannot be read ({error}).") from error


def image_name(image: Any) -> str:
    """Returns the name of an image for messages. It is always one line.

    Args:
        image: what `read_image` takes.

    Returns:
        The path of a file, or the type of an image that has no path.

    Example:
        >>> image_name("photos/cat.jpg")
        'photos/cat.jpg'
    """
    if isinstance(image, str | os.PathLike) or hasattr(image, "read_bytes"):
        name = str(image)
        return name if name.isprintable() else repr(name)[1:-1]
    return type(image).__name__


def is_one_image(images: Any) -> bool:
    """Returns whether `images` is a single image and not several.

    Args:
        images: what `read_image` takes, or an iterable of it. An array of three axes counts as one
            image, not as a batch of grey images.

    Returns:
        bool.

    Example:
        >>> is_one_image("cat.jpg"), is_one_image(["cat.jpg"])
        (True, False)
    """
    is_file = isinstance(images, str | bytes | os.PathLike) or hasattr(images, "read_bytes")
    is_picture = isinstance(images, Image.Image) or len(getattr(images, "shape", ())) in (2, 3)
    return is_file or is_picture


def _read_path(path: Path, name: str) -> bytes:
    try:
        status = path.stat()
        # A pipe would wait until another process writes to it, and a device may never end.
        if not stat.S_ISREG(status.st_mode):
            kind = "folder" if stat.S_ISDIR(status.st_mode) else "device or pipe"
            raise InputError(f"{name}: is a {kind}, not an image file.")
        if status.st_size > _MAX_BYTES:
            raise InputError(f"{name}: is larger than 1 GiB, too large for an image.")
        return path.read_bytes()
    except FileNotFoundError:
        what = "is a link to a file that does not exist" if path.is_symlink() else "no such file"
        raise InputError(f"{name}: {what}.") from None
    except InputError:
        raise
    # ValueError: a NUL character in the name.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name}: cannot be read ({reason}).") from error


def _decode(data: bytes, name: str) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            _check_pixels(image)
            _check_end(data, image.format)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except UnidentifiedImageError:
        reason = _what_else(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = (
            f"it has more than {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS"
        )
    # Pillow's decoders raise nearly anything on a damaged file.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    raise InputError(f"{name}: cannot be read as an image ({reason}).")


def _check_pixels(image: Image.Image) -> None:
    """Raises an error for too many pixels. Pillow only warns, once, and does not name the file."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError


def _check_end(data: bytes, format_name: str | None) -> None:
    """Raises an error for a file that has its full length, but ends in zeros.

    Some downloads reserve the space first. If they stop, Pillow decodes the zeros to grey or worse.
    """
    zeros = bytes(64)
    is_unfinished = False
    if format_name == "JPEG":
        # Zeros may follow the end-of-image marker, but not a start-of-scan marker.
        is_unfinished = data.endswith(zeros) and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    elif format_name == "WEBP":
        end = 8 + int.from_bytes(data[4:8], "little")
        is_unfinished = data[:end].endswith(zeros)
    if is_unfinished:
        raise InputError("it ends in zeros; copy or download it again")


def _what_else(data: bytes) -> str:
    """Says what a file is if it has none of the formats."""
    if not data:
        return "the file is empty"
    if not data.strip(b"\0"):
        return "it holds zeros only"
    start = data[:1024].lower()
    kinds = [kind for sign, kind in _OTHER_KINDS.items() if sign in start]
    return f"it is {kinds[0]}" if kinds else "damaged, or of no known image format"


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _to_rgb(image: Image.Image) -> Image.Image:
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
        return Image.fromarray(_to_uint8(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image).convert(
            "RGB"
        )
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_numpy(image: Any) -> npt.NDArray[Any]:
    if hasattr(image, "detach") and hasattr(image, "cpu"):  # open files have `detach` too
        image = image.detach().cpu()
        if image.is_floating_point() and image.ndim == 3 and image.shape[0] in (1, 3, 4):
            array = image.permute(1, 2, 0).float().numpy()
            low, high = float(array.min(initial=0)), float(array.max(initial=0))
            if -1 <= low < 0 and high <= 1:
                raise InputError(
                    "values of a float tensor of torch must lie in [0, 1]. "
                    f"Received: {low:g} to {high:g}, which looks like [-1, 1]; give (x + 1) / 2."
                )
            return 255.0 * array
    array = np.asarray(image)
    channels_first = (
        array.ndim == 3 and array.shape[-1] not in (1, 3, 4) and array.shape[0] in (1, 3, 4)
    )
    return array.transpose(1, 2, 0) if channels_first else array


def _to_uint8(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))
    if not is_picture or array.dtype.kind not in "iuf" or 0 in array.shape:
        raise InputError(
            "an image must be a path, a PIL image or an array of shape (height, width, channels) "
            f"with 1, 3 or 4 channels. Received: shape {array.shape}, dtype {array.dtype.name}"
        )
    if array.dtype == np.uint8:
        return array
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and -1 <= low < 0 and high <= 1:
        raise InputError(
            f"float values of an image must lie in [0, 255]. Received: {low:g} to {high:g}, which "
            "looks like [-1, 1]; give ((x + 1) * 127.5)."
        )
    if array.dtype.kind == "f" and 0 < high <= 1:
        raise InputError(
            f"float values of an image must lie in [0, 255]. Received: {low:g} to {high:g}, which "
            "looks like [0, 1]; multiply them by 255, or give a nearly black image as uint8."
        )
    if not (low >= 0 and high <= 255):  # also refuses NaN
        raise InputError(
            f"values of an image must lie in [0, 255]. Received: {low:g} to {high:g}; give images "
            "that are not normalised."
        )
    return np.rint(array).astype("uint8")
