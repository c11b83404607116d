"""Labelled images that are files inside something else."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.sources.labelled_images import LabelledImages
from keras_cmm_runtime.sources.stored_image import StoredImage


@dataclass(frozen=True, eq=False)
class StoredImages(LabelledImages):
    """Labelled images with their identities.

    Args:
        images: The images.
        labels: `(images,)` int32 class ids, indices into `class_names`.
        class_names: One name a class.
        names: One identity an image, returned by `keys`.
    """

    images: tuple[StoredImage, ...]
    labels: npt.NDArray[np.int32]
    class_names: tuple[str, ...]
    names: tuple[str, ...]

    def keys(self) -> list[str]:
        """Returns one identity for each image, for `sample_few_shot`."""
        return list(self.names)

    def _take_rows(self, rows: npt.NDArray[np.int64]) -> Self:
        return replace(
            self,
            images=tuple(self.images[row] for row in rows),
            labels=self.labels[rows],
            names=tuple(self.names[row] for row in rows),
        )
