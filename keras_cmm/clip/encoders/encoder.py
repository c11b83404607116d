"""What an encoder is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.images import ImagePreprocessor


class Encoder(Protocol):
    """What embeds images, and texts in the same space if it has a text tower.

    The embedders, the store of embeddings and the classifier need no more than this, so any object
    with these members will do. `KerasHubEncoder` is the one of what `keras_cmm.clip.load` returns.
    """

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    def preprocessor(self) -> ImagePreprocessor:
        """What reads, resizes and crops images as in the training of the encoder."""

    @property
    def logit_scale(self) -> float | None:
        """Factor of the cosine similarities in the training, or `None` without a text tower."""

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on the CPU. Then no images are read while it works."""

    def embed_pixels(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embeds one batch of images.

        Args:
            pixels: what `preprocessor.pixels` makes, `(batch, image_size, image_size, 3)`.

        Returns:
            float32 array of shape `(batch, dim)`, rows of unit length.
        """

    @property
    def embed_texts(self) -> Callable[[Sequence[str], int], npt.NDArray[np.float32]] | None:
        """Embeds a list of str in batches of so many, or is `None` without a text tower.

        It returns a float32 array of shape `(texts, dim)`, rows of unit length.
        """

    def digest(self) -> dict[str, Any]:
        """Returns all that an embedding depends on, except the image and the preprocessor.

        Two encoders of equal digests give the same embeddings. It is made of what JSON holds, and
        changes with the weights.
        """
