"""Training data that is augmented anew every epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.clip import ImageEmbedder
from keras_cmm.recipes.shuffled_batches import ShuffledBatches


class AugmentedBatches(ShuffledBatches):
    """Embeddings of newly augmented images, in batches as of `ShuffledBatches`.

    Args:
        embedder: an `ImageEmbedder`.
        augmentation: a Keras layer, called in training mode, or a function, on float32 pixels in
            [0, 255], shape `(batch, image_size, image_size, 3)`.
        *args: the arguments of `ShuffledBatches`, its inputs uint8 pixels.
        **kwargs: as `args`.
    """

    def __init__(
        self, embedder: ImageEmbedder, augmentation: Callable[[Any], Any], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._embedder = embedder
        self._augmentation = augmentation

    def _inputs(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        size = self._embedder.batch_size
        return np.concatenate(
            [self._embed(rows[start : start + size]) for start in range(0, len(rows), size)]
        )

    def _embed(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        pixels = self._x[rows].astype("float32")
        if isinstance(self._augmentation, keras.Layer):
            augmented = self._augmentation(pixels, training=True)
        else:
            augmented = self._augmentation(pixels)
        augmented = np.clip(ops.convert_to_numpy(augmented), 0.0, 255.0)
        return self._embedder.embed_pixels(augmented)
