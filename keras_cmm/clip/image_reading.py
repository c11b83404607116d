"""From whatever holds an image to an RGB picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from keras_cmm.errors import InputError

_BACKGROUND = "white"


def read_image(image: Any) -> Image.Image:
    """Returns an image as an RGB picture.

    Files are turned upright by their EXIF orientation. Transparent parts are put on white. Of an
    animated image the first frame counts; 16-bit values are scaled to 8 bits.

    Args:
        image: a path, a `PIL.Image.Image`, or an array or tensor of one image: integers or floats
            in [0, 255], shape `(height, width, channels)` with 1, 3 or 4 channels, or
            `(height, width)`. A float tensor of shape `(channels, height, width)` is
            taken as torchvision makes it, with values in [0, 1].

    Returns:
        A `PIL.Image.Image` of mode RGB.

    Raises:
        InputError: If it is no image, or a file that cannot be read as one.

    Example:
        >>> import numpy as np
        >>> read_image(np.zeros((4, 6, 1), dtype="uint8")).size
        (6, 4)
    """
    if isinstance(image, str | os.PathLike):
        return _read_file(Path(image))
    if isinstance(image, Image.Image):
        return _to_rgb(ImageOps.exif_transpose(image))
    return _to_rgb(Image.fromarray(_to_uint8(_to_numpy(image))))


def _read_file(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    # Pillow's decoders raise nearly anything on a damaged file.
    except Exception as error:
        reason = str(error) or type(error).__name__
        if str(path) in reason:
            reason = "damaged, or of no known image format"
        raise InputError(f"{path}: cannot be read as an image ({reason}).") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        # 16-bit greyscale; Pillow's own conversion clips at 255 instead of scaling.
        values = np.asarray(image).astype("int64")
        return Image.fromarray((values.clip(0, 65535) // 257).astype("uint8")).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image).convert(
            "RGB"
        )
    return image.convert("RGB")


def _to_numpy(image: Any) -> npt.NDArray[Any]:
    if hasattr(image, "detach"):
        image = image.detach().cpu()
        if image.is_floating_point() and image.ndim == 3 and image.shape[0] in (1, 3, 4):
            return 255.0 * image.permute(1, 2, 0).float().numpy()
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
    if array.dtype.kind == "f" and 0 < high <= 1:
        raise InputError(
            "float values of an image must lie in [0, 255], and these look like [0, 1]; multiply "
            f"them by 255. Received: {low:g} to {high:g}"
        )
    if not (low >= 0 and high <= 255):  # also refuses NaN
        raise InputError(
            "values of an image must lie in [0, 255]; pass raw images, not normalised ones. "
            f"Received: {low:g} to {high:g}"
        )
    return np.rint(array).astype("uint8")
