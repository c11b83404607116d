"""What the package's own image sources share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.sources.image_source import ImageSource


class LabelledImages(ABC):
    """An `ImageSource` but for its images, labels, class names and keys."""

    def __len__(self: ImageSource) -> int:
        return len(self.labels)

    def __iter__(self: ImageSource) -> Iterator[tuple[str, Any, int]]:
        return zip(self.keys(), self.images, self.labels.tolist(), strict=True)

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Self:
        """Selects images and keeps all classes.

        Args:
            indices: `(rows,)` image numbers, such as `FewShotSample.indices`.

        Returns:
            The images in the order of `indices`.
        """
        return self._take_rows(np.arange(len(self))[indices])

    @abstractmethod
    def _take_rows(self, rows: npt.NDArray[np.int64]) -> Self:
        """Returns the images of the given numbers, which all exist."""
