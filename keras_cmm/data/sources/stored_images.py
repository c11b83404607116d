"""What the sources that read images out of something else have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from keras_cmm.data.sources.stored_image import StoredImage


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Labelled images with their identities.

    Args:
        images: One image each.
        labels: `(images,)` int32 class ids, indices into `class_names`.
        class_names: One name a class.
        names: The identities that `keys` returns.
    """

    images: tuple[StoredImage, ...]
    labels: npt.NDArray[np.int32]
    class_names: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[str, StoredImage, int]]:
        return zip(self.names, self.images, self.labels.tolist(), strict=True)

    def keys(self) -> list[str]:
        """Identities of the images for `sample_few_shot`."""
        return list(self.names)

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Self:
        """Selects images, all classes kept.

        Args:
            indices: `(rows,)` image numbers, such as `FewShotSample.indices`.

        Returns:
            The images in the order of `indices`.
        """
        rows = np.arange(len(self))[indices]
        return type(self)(
            tuple(self.images[row] for row in rows),
            self.labels[rows],
            self.class_names,
            tuple(self.names[row] for row in rows),
        )
