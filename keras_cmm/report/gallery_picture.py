"""A test picture and the classifier's guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from keras_cmm.report.thumbnail import thumbnail
from keras_cmm_runtime.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class GalleryPicture:
    """One test picture, its class and the classifier's best guesses.

    Args:
        image: Anything that `keras_cmm.clip.read_image` takes: the bytes of an image file, its
            path, a PIL image, or an array with values from 0 to 255.
        class_name: Name of its true class.
        guesses: Pairs of class name and probability, best first, at least one.

    Raises:
        InputError: If there is no guess.

    Example:
        >>> import numpy as np
        >>> picture = GalleryPicture(np.zeros((8, 8, 3), "uint8"), "ant", [("ant", 0.9)])
        >>> picture.is_right, picture.thumbnail()[:23]
        (True, 'data:image/webp;base64,')
    """

    image: bytes | str | Path | Image | npt.NDArray[np.number]
    class_name: str
    guesses: Sequence[tuple[str, float]]

    def __post_init__(self) -> None:
        if not self.guesses:
            raise InputError(f"`guesses` must hold at least one pair. Received: {self.guesses!r}")

    @property
    def is_right(self) -> bool:
        """Whether the best guess is the true class."""
        return self.guesses[0][0] == self.class_name

    def thumbnail(self) -> str:
        """Returns the picture as a data URI of a WebP file, at most 160 pixels wide and high.

        Raises:
            InputError: If the picture cannot be read.
        """
        return thumbnail(self.image)
