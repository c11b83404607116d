"""The images of another source under classes of one's own."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from keras_cmm.data.sources.image_source import ImageSource


@dataclass(frozen=True, eq=False)
class RelabelledSource:
    """An `ImageSource` with other labels and class names than the source it reads from.

    Args:
        source: Where the images come from.
        labels: `(images,)` int32 class ids, indices into `class_names`.
        class_names: One name a class; two classes may share a name, as in ImageNet.
    """

    source: ImageSource
    labels: npt.NDArray[np.int32]
    class_names: tuple[str, ...]

    @property
    def images(self) -> Collection[Any]:
        """The images of `source`."""
        return self.source.images

    def keys(self) -> list[str]:
        """Identities of the images for `sample_few_shot`."""
        return self.source.keys()

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[tuple[str, Any, int]]:
        return zip(self.keys(), self.images, self.labels.tolist(), strict=True)

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Self:
        """Selects images, all classes kept.

        Args:
            indices: `(rows,)` image numbers, such as `FewShotSample.indices`.

        Returns:
            The images in the order of `indices`.
        """
        rows = np.arange(len(self))[indices]
        return type(self)(self.source.take(rows), self.labels[rows], self.class_names)
