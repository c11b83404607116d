"""Reading images of any kind as RGB pictures."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.image_decoding import decode, decode_pil, to_rgb
from keras_cmm_runtime.images.pixel_values import to_uint8
from keras_cmm_runtime.utils.regular_files import refuse_special_file

_MAX_BYTES = 2**30


def read_image(image: Any) -> Image.Image:
    """Reads an image as an RGB picture.

    Files may be JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or AVIF, and HEIC with the extra `heif`; their
    names do not matter. They are turned upright by their EXIF orientation, if it can be read.
    Transparent parts become white. An animation gives its first frame, and a file of several
    pictures its first. 16-bit values are scaled to 8 bits.

    These files raise an error, whatever `PIL.ImageFile.LOAD_TRUNCATED_IMAGES` is:

    - files that are cut off, and files with zeros in place of their last pixels, unless they are
      BMP, PPM or TIFF without compression;
    - images of more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, which is 89,478,485 by default;
    - files of more than 1 GiB, and those that would take minutes to read, such as a large JPEG of
      many scans.

    A PNG file with a wrong bit raises an error, since PNG has checksums. The other formats have
    none: a wrong bit may give another picture.

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
        return decode(data, image_name(image))
    if isinstance(image, Image.Image):
        return decode_pil(image, image_name(image))
    return to_rgb(Image.fromarray(to_uint8(_to_numpy(image))))


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
        refuse_special_file(path)
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{name}: is a folder, not an image file.")
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
