"""What a model makes of decoded images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.images import ImagePreprocessor

if TYPE_CHECKING:
    import pyarrow


class ShardModel(Protocol):
    """Makes columns of a file from decoded images: embeddings, or classes and their scores."""

    @property
    def preprocessor(self) -> ImagePreprocessor:
        """What resizes and crops images."""

    @property
    def batch_size(self) -> int:
        """Number of images in a forward pass."""

    def columns(
        self, pixels: npt.NDArray[np.uint8], readable: Sequence[bool]
    ) -> dict[str, pyarrow.Array]:
        """Returns the columns of some rows.

        Args:
            pixels: `(readable images, image_size, image_size, 3)`.
            readable: For each row whether its image can be read. Other rows get nulls.
        """
