"""Image and text embeddings before and after the mapping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_cmm.errors import InputError


@dataclass(frozen=True, eq=False)
class MappedEmbeddings:
    """Embeddings of test pictures and of class texts, before and after the cross-modal mapping.

    Args:
        images: Image embeddings, shape `(images, dim)`.
        mapped_images: The same images after the mapping, shape `(images, dim)`.
        texts: Text embeddings of the classes, shape `(classes, dim)`.
        labels: Class of each image, shape `(images,)`.
        prototypes: Class prototypes that the mapped images are compared with, shape
            `(classes, dim)`; `None` where they were not trained and still are `texts`.

    Raises:
        InputError: If shapes disagree, there is no image or a label is out of range.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> MappedEmbeddings(eye, eye, eye, labels=np.arange(2)).class_prototypes is eye
        True
    """

    images: npt.NDArray[np.floating]
    mapped_images: npt.NDArray[np.floating]
    texts: npt.NDArray[np.floating]
    labels: npt.NDArray[np.integer]
    prototypes: npt.NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        if self.texts.ndim != 2:
            raise InputError(
                f"`texts` must have shape (classes, dim). Received: {self.texts.shape}"
            )
        num_classes, dim = self.texts.shape
        for name, rows, num_rows in (
            ("images", self.images, len(self.labels)),
            ("mapped_images", self.mapped_images, len(self.labels)),
            ("prototypes", self.class_prototypes, num_classes),
        ):
            if not num_rows or rows.shape != (num_rows, dim):
                raise InputError(
                    f"`{name}` must have shape {(num_rows, dim)}, with at least one row. "
                    f"Received: {rows.shape}"
                )
        if self.labels.min() < 0 or self.labels.max() >= num_classes:
            raise InputError(
                f"`labels` must lie in [0, {num_classes}). "
                f"Received: {self.labels.min()} to {self.labels.max()}"
            )

    @property
    def class_prototypes(self) -> npt.NDArray[np.floating]:
        """`prototypes`, or `texts` where there are none."""
        return self.texts if self.prototypes is None else self.prototypes
