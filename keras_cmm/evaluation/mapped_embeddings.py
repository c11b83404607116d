"""Image and text embeddings before and after the cross-modal mapping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.evaluation.modality_gap import ModalityGap, measure_modality_gap
from keras_cmm.models import CMMClassifier, find_duplicate_groups
from keras_cmm_runtime.errors import InputError


@dataclass(frozen=True, eq=False)
class MappedEmbeddings:
    """Test images and class texts in CLIP's space, and after a classifier's mapping.

    Args:
        images: Image embeddings, shape `(images, dim)`.
        mapped_images: The same images after the mapping, shape `(images, dim)`.
        texts: Text embeddings of the classes, shape `(classes, dim)`.
        labels: Class of each image, shape `(images,)`.
        prototypes: Class prototypes that the mapped images are compared with, shape
            `(classes, dim)`; `None` if they were not trained, so that they equal `texts`.

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

    @classmethod
    def from_head(
        cls,
        head: CMMClassifier,
        embeddings: npt.NDArray[np.floating],
        labels: npt.NDArray[np.integer],
        classes: Sequence[int] | npt.NDArray[np.integer] | None = None,
    ) -> Self:
        """Maps image embeddings by a classifier on embeddings.

        Args:
            head: The classifier, for example the `head` of a `CMMImageClassifier`.
            embeddings: Image embeddings, shape `(images, dim + also_dim)`.
            labels: Class of each image, shape `(images,)`.
            classes: Ids of the classes that are scored, for test sets with some of the classes.
                `labels` are then positions in `classes`.

        Example:
            >>> import numpy as np
            >>> from keras_cmm import CMMClassifier
            >>> head = CMMClassifier.from_text_embeddings(np.eye(3, dtype="float32"))
            >>> images = np.array([[0.6, 0.8, 0.0], [0.0, 0.6, 0.8]], dtype="float32")
            >>> mapped = MappedEmbeddings.from_head(head, images, np.array([0, 1]), classes=[0, 2])
            >>> before, after = mapped.modality_gaps()
            >>> round(before.own_cosine, 3), round(before.hardest_wrong_cosine, 3)
            (0.7, 0.0)
        """
        chosen = slice(None) if classes is None else np.asarray(classes)
        return cls(
            np.asarray(embeddings)[:, : head.text_embeddings.shape[1]],
            ops.convert_to_numpy(head.mapping(embeddings)),
            head.text_embeddings[chosen],
            np.asarray(labels),
            ops.convert_to_numpy(head.prototypes.embeddings)[chosen],
        )

    @property
    def class_prototypes(self) -> npt.NDArray[np.floating]:
        """`prototypes`, or `texts` where there are none."""
        return self.texts if self.prototypes is None else self.prototypes

    def modality_gaps(self) -> tuple[ModalityGap, ModalityGap]:
        """Returns the modality gap before and after the mapping.

        Classes that share a text are not each other's wrong class, neither before nor after:
        training drives their prototypes apart.
        """
        groups = find_duplicate_groups(self.texts)
        return (
            measure_modality_gap(self.images, self.texts, self.labels, groups),
            measure_modality_gap(self.mapped_images, self.class_prototypes, self.labels, groups),
        )
