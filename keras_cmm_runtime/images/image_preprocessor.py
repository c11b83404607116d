"""Preprocessing images as CLIP does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from keras_cmm_runtime.errors import InputError, TooManyPixelsError
from keras_cmm_runtime.images.image_reading import image_name, read_image
from keras_cmm_runtime.images.image_view import ImageView

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

_INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
}


class ImagePreprocessor:
    """CLIP's image preprocessing: resizes the shorter side, crops the centre and normalises.

    SigLIP resizes the whole image and does not crop. Some models of OpenCLIP make the longer side
    fit and fill the rest of the square.

    For RGB images the result has the same bits as that of transformers' PIL image processor. Files
    are also turned upright by their EXIF orientation, and transparent parts become white, see
    `read_image`. keras-hub's image converter is not used, because it resizes without antialias:
    the pixels differ from those CLIP was trained with by up to 0.125 on average, after
    normalising.

    Args:
        image_size: int, pixels. Height and width of the result.
        mean: three floats, the channel means of values in [0, 1].
        std: three floats, the channel standard deviations of values in [0, 1].
        interpolation: `"bicubic"`, `"bilinear"`, `"lanczos3"` or `"nearest"`.
        crop: bool. If `True`, the aspect ratio is kept and what exceeds the square is cut off. If
            `False`, the image is squeezed into the square.
        resize_size: int, pixels, at least `image_size`. The shorter side before the crop, as in
            timm and DINOv2, or `None` for `image_size`.
        crop_rounding: `"down"` or `"even"`. How half of an odd number of pixels to cut off is
            rounded: down as transformers does, or to the even number as torchvision does.
        pad: bool, with `crop=False`. If `True`, the longer side is scaled to `image_size`, the
            image is put into the middle, and the rest is black, as in OpenCLIP's mode "longest".

    Raises:
        InputError: If an argument is out of range.

    Example:
        >>> import numpy as np
        >>> preprocess = ImagePreprocessor(image_size=32)
        >>> preprocess(np.zeros((50, 80, 3), dtype="uint8")).shape
        (32, 32, 3)

    References:
        https://github.com/huggingface/transformers, `CLIPImageProcessorPil`;
        https://github.com/openai/CLIP, clip/clip.py, `_transform`.
    """

    resize_size: int | None = None
    crop_rounding: str = "down"
    pad: bool = False

    def __init__(
        self,
        image_size: int = 224,
        mean: Sequence[float] = OPENAI_MEAN,
        std: Sequence[float] = OPENAI_STD,
        interpolation: str = "bicubic",
        crop: bool = True,
        resize_size: int | None = None,
        crop_rounding: str = "down",
        pad: bool = False,
    ) -> None:
        if not isinstance(image_size, int) or image_size < 1:
            raise InputError(f"`image_size` must be an int >= 1. Received: {image_size=}")
        if interpolation not in tuple(_INTERPOLATIONS):
            raise InputError(
                f"`interpolation` must be one of {tuple(_INTERPOLATIONS)}. "
                f"Received: {interpolation=}"
            )
        if not isinstance(crop, bool):
            raise InputError(f"`crop` must be a bool. Received: {crop=}")
        if resize_size is not None and (not isinstance(resize_size, int) or not crop):
            raise InputError(
                f"`resize_size` must be None or an int, with crop=True. Received: {resize_size=}"
            )
        if resize_size is not None and resize_size < image_size:
            raise InputError(
                f"`resize_size` must be at least `image_size`. Received: {resize_size=}, "
                f"{image_size=}"
            )
        if crop_rounding not in ("down", "even"):
            raise InputError(
                f'`crop_rounding` must be "down" or "even". Received: {crop_rounding=}'
            )
        if not isinstance(pad, bool) or (pad and crop):
            raise InputError(
                f"`pad` must be a bool, and False with crop=True. Received: {pad=}, {crop=}"
            )
        # Set only if they differ: files and stores of earlier versions know no others.
        if resize_size not in (None, image_size):
            self.resize_size = resize_size
        if crop and crop_rounding != "down":
            self.crop_rounding = crop_rounding
        if pad:
            self.pad = pad
        self.image_size = image_size
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.interpolation = interpolation
        self.crop = crop

    @classmethod
    def from_image_converter(cls, converter: Any) -> ImagePreprocessor:
        """Makes a preprocessor with the settings of a keras-hub image converter.

        Args:
            converter: a `keras_hub.layers.ImageConverter` with a square `image_size`.

        Returns:
            The preprocessor.

        Raises:
            InputError: If the converter has no square image size, or has other settings that
                cannot be used.
        """
        size = converter.image_size
        if size is None or len(size) != 2 or size[0] != size[1]:
            raise InputError(
                f"the image converter must have a square `image_size`. Received: {size}"
            )
        # The converter computes `scale * x + offset` on x in [0, 255].
        scale = _three_numbers("scale", converter.scale, 1.0)
        offset = _three_numbers("offset", converter.offset, 0.0)
        if scale.min() <= 0:
            raise InputError(f"`scale` must be > 0. Received: scale={converter.scale}")
        std = 1.0 / (255.0 * scale)
        mean = -offset * std
        return cls(
            size[0],
            mean.tolist(),
            std.tolist(),
            converter.interpolation,
            converter.crop_to_aspect_ratio,
            getattr(converter, "resize_size", None),
            getattr(converter, "crop_rounding", "down"),
            converter.pad_to_aspect_ratio,
        )

    def read(self, image: Any) -> Image.Image:
        """Reads an image and checks that it can be resized.

        Args:
            image: what `read_image` takes: a path, a PIL image, an array.

        Returns:
            The RGB picture, not resized.

        Raises:
            InputError: If the image cannot be read, or is so narrow that the resized image would
                have more than `PIL.Image.MAX_IMAGE_PIXELS` pixels.
        """
        picture = read_image(image)
        width, height = self._target(picture)
        # PIL scales the width first, and `pixels` crops wide images before the height is scaled.
        most = width * (picture.height if width > height else max(height, picture.height))
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and most > limit:
            raise TooManyPixelsError(
                f"{image_name(image)}: is too narrow, {picture.width} x {picture.height} pixels; "
                f"resized, it would have more than {limit:,} pixels; crop it, or raise "
                "PIL.Image.MAX_IMAGE_PIXELS."
            )
        return picture

    def pixels(self, image: Any) -> npt.NDArray[np.uint8]:
        """Resizes and crops an image.

        Args:
            image: what `read_image` takes: a path, a PIL image, an array. Or an `ImageView` of it.

        Returns:
            uint8 array of shape `(image_size, image_size, 3)`.

        Raises:
            InputError: As `read`.
        """
        filter_ = _INTERPOLATIONS[self.interpolation]
        if isinstance(image, ImageView):
            return np.asarray(image.cut(self.read(image.image), self.image_size, filter_))
        picture = self.read(image)
        size, (width, height) = self.image_size, self._target(picture)
        if width > size and self.resize_size is None:
            # PIL scales the width first, then the height. Cropping in between gives the same bits,
            # and saves scaling the height of pixels that are cut off.
            scaled = picture.resize((width, picture.height), filter_)
            picture = self._centre(scaled, size, picture.height)
            width = size
        if picture.size != (width, height):
            picture = picture.resize((width, height), filter_)
        if self.pad:
            square = Image.new("RGB", (size, size))
            square.paste(picture, ((size - width) // 2, (size - height) // 2))
            return np.asarray(square)
        return np.asarray(self._centre(picture, size, size))

    def normalize(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Scales pixels to [0, 1] and normalises the channels.

        Args:
            pixels: values in [0, 255], shape `(..., width, 3)`.

        Returns:
            float32 array of the same shape.
        """
        # transformers scales in float64 and rounds to float32. For the 256 possible values a
        # division in float32 gives the same bits, in a fraction of the time.
        images = np.asarray(pixels).astype("float32")
        images /= np.float32(255)
        # numpy is slow along an axis of length three, so the statistics fill a row of pixels.
        width = images.shape[-2]
        images -= np.tile(np.array(self.mean, dtype="float32"), (width, 1))
        images /= np.tile(np.array(self.std, dtype="float32"), (width, 1))
        return images

    def seen_box(self, picture: Image.Image) -> tuple[float, float, float, float]:
        """Returns the part of a picture that `pixels` does not cut off.

        Args:
            picture: a picture as `read` returns it.

        Returns:
            Its left, top, right and bottom edge, in pixels of the picture. With `pad`, the edges of
            the square, which lie outside of the picture.

        Example:
            >>> from PIL import Image
            >>> ImagePreprocessor(image_size=32).seen_box(Image.new("RGB", (100, 50)))
            (25.0, 0.0, 75.0, 50.0)
        """
        width, height = self._target(picture)
        # As `_centre` cuts.
        if self.pad:
            left, top = ((width - self.image_size + 1) // 2, (height - self.image_size + 1) // 2)
        else:
            left, top = self._margin(width), self._margin(height)
        across, down = picture.width / width, picture.height / height
        right, bottom = left + self.image_size, top + self.image_size
        return left * across, top * down, right * across, bottom * down

    def _target(self, picture: Image.Image) -> tuple[int, int]:
        """Returns width and height of the resized picture, before it is cropped."""
        size, (width, height) = self.resize_size or self.image_size, picture.size
        if self.pad:
            # As OpenCLIP rounds. Of a line it would leave nothing.
            ratio = max(height / size, width / size)
            return max(1, round(width / ratio)), max(1, round(height / ratio))
        if not self.crop:
            return size, size
        scaled = int(size * max(width, height) / min(width, height))
        return (size, scaled) if width <= height else (scaled, size)

    def _centre(self, picture: Image.Image, width: int, height: int) -> Image.Image:
        left = self._margin(picture.width) if width < picture.width else 0
        top = self._margin(picture.height) if height < picture.height else 0
        return picture.crop((left, top, left + width, top + height))

    def _margin(self, side: int) -> int:
        """Returns how much of a side is cut off before the square."""
        rest = side - self.image_size
        return round(rest / 2) if self.crop_rounding == "even" else rest // 2

    def __call__(self, image: Any) -> npt.NDArray[np.float32]:
        """Returns the model's input for one image, float32 `(image_size, image_size, 3)`."""
        return self.normalize(self.pixels(image))


def _three_numbers(name: str, value: Any, default: float) -> npt.NDArray[np.float64]:
    try:
        given = np.asarray(default if value is None else list(np.atleast_1d(value)), "float64")
        numbers = np.broadcast_to(given, 3)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise InputError(f"`{name}` must be a number or three of them. Received: {name}={value!r}")
    return numbers
