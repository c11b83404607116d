"""Augmented views of an image: random crops of it, some of them mirrored."""

from __future__ import annotations

import math
import random
import zlib
from dataclasses import dataclass
from typing import Any

from PIL import Image

from keras_cmm_runtime.utils.check_number import check_int

# Those of Tip-Adapter, whose cache holds means of such views.
_AREA = (0.5, 1.0)
_RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10

VIEW_RECIPE = "crop of 0.5 to 1 of the area, ratio 3/4 to 4/3, mirrored or not"
"""What a view is, for stores of embeddings. If views are drawn in another way, it must change."""


@dataclass(frozen=True)
class ImageView:
    """A view of an image: a random crop that is resized to a square, and mirrored or not.

    The crop has 50 to 100 % of the area and a ratio of width to height from 3/4 to 4/3. One view in
    two is mirrored. `ImagePreprocessor.pixels` takes views as it takes images.

    A view depends on the picture and the number alone: the same picture has the same views in every
    run and under every name.

    Args:
        image: what `read_image` takes: a path, a PIL image, an array.
        number: int, at least 1.

    Raises:
        ValueError: If `number` is no int >= 1.

    Example:
        >>> import numpy as np
        >>> from keras_cmm_runtime.images import ImagePreprocessor
        >>> image = np.arange(50 * 80 * 3, dtype="uint8").reshape(50, 80, 3)
        >>> ImagePreprocessor(image_size=32).pixels(ImageView(image, 1)).shape
        (32, 32, 3)

    References:
        Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, arXiv:1409.4842;
        https://github.com/pytorch/vision, `RandomResizedCrop`.
    """

    image: Any
    number: int

    def __post_init__(self) -> None:
        check_int("number", self.number, 1)

    def cut(self, picture: Image.Image, size: int, interpolation: Image.Resampling) -> Image.Image:
        """Returns the view of the picture that was read.

        Args:
            picture: the RGB picture of `image`.
            size: int, pixels. Width and height of the view.
            interpolation: how the crop is resized.
        """
        box, is_mirrored = self._draw(picture)
        view = picture.crop(box).resize((size, size), interpolation)
        return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if is_mirrored else view

    def _draw(self, picture: Image.Image) -> tuple[tuple[int, int, int, int], bool]:
        """Draws left, top, right and bottom edge of the crop, and whether it is mirrored."""
        width, height = picture.size
        # Not numpy: only Python promises the same numbers in all its versions.
        generator = random.Random(f"{zlib.crc32(picture.tobytes())} {width} {height} {self.number}")
        is_mirrored = generator.random() < 0.5
        for _ in range(_ATTEMPTS):
            area = width * height * _between(generator, *_AREA)
            ratio = math.exp(_between(generator, *map(math.log, _RATIO)))
            across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < across <= width and 0 < down <= height:
                left = int(generator.random() * (width - across + 1))
                top = int(generator.random() * (height - down + 1))
                return (left, top, left + across, top + down), is_mirrored
        # A long picture has no such crop: its middle, of the nearest ratio.
        across = min(width, max(1, round(height * _RATIO[1])))
        down = min(height, max(1, round(width / _RATIO[0])))
        left, top = (width - across) // 2, (height - down) // 2
        return (left, top, left + across, top + down), is_mirrored


def _between(generator: random.Random, low: float, high: float) -> float:
    return low + (high - low) * generator.random()
