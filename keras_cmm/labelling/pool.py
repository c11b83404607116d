"""The images that a strategy chooses from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import unit_rows


@dataclass(frozen=True, eq=False)
class Pool:
    """Images without labels, what is known of them, and the images that have labels already.

    Args:
        embeddings: `(images, dim)`, of any length but zero.
        probabilities: `(images, classes)`, of a trained classifier, or of the class texts if none
            is trained.
        labelled: `(labelled, dim)` embeddings of the images that have labels, or `None`.
        labels: `(labelled,)` class ids of these, or `None`.

    Raises:
        InputError: If the shapes do not fit, or a number is not finite.

    Example:
        >>> pool = Pool(np.eye(3), np.full((3, 2), 0.5), np.eye(3)[:1], np.array([1]))
        >>> pool.counts, pool.predicted
        (array([0, 1]), array([0, 0, 0]))
    """

    embeddings: npt.NDArray[np.floating]
    probabilities: npt.NDArray[np.floating]
    labelled: npt.NDArray[np.floating] | None = None
    labels: npt.NDArray[np.integer] | None = None

    def __post_init__(self) -> None:
        rows = np.asarray(self.embeddings)
        probabilities = np.asarray(self.probabilities)
        if rows.ndim != 2 or probabilities.ndim != 2 or len(rows) != len(probabilities):
            raise InputError(
                "`embeddings` must have shape (images, dim) and `probabilities` (images, classes), "
                f"for the same images. Received: {rows.shape} and {probabilities.shape}"
            )
        if probabilities.shape[1] < 2:
            raise InputError(
                "`probabilities` must be of two classes or more. "
                f"Received: shape {probabilities.shape}"
            )
        if not np.isfinite(rows).all() or not np.isfinite(probabilities).all():
            raise InputError("`embeddings` and `probabilities` must be finite numbers.")
        if (self.labelled is None) != (self.labels is None):
            raise InputError("`labelled` and `labels` must be given together.")
        labelled = np.empty((0, rows.shape[1])) if self.labelled is None else self.labelled
        labels = np.asarray([] if self.labels is None else self.labels, dtype="int64")
        if np.shape(labelled) != (len(labels), rows.shape[1]) or labels.ndim != 1:
            raise InputError(
                f"`labelled` must have shape (labelled, {rows.shape[1]}), and `labels` one class "
                f"id for each. Received: {np.shape(labelled)} and {labels.shape}"
            )
        classes = probabilities.shape[1]
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise InputError(
                f"`labels` must be class ids from 0 to {classes - 1}. "
                f"Received: {labels.min()} to {labels.max()}"
            )
        object.__setattr__(self, "embeddings", unit_rows(rows))
        object.__setattr__(self, "probabilities", probabilities)
        object.__setattr__(self, "labelled", unit_rows(labelled))
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def known(self) -> npt.NDArray[np.float32]:
        """Embeddings of the images that have labels, `(labelled, dim)`; perhaps none."""
        rows: npt.NDArray[np.float32] = np.asarray(self.labelled, dtype="float32")
        return rows

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many labelled images each class has, `(classes,)`."""
        return np.bincount(np.asarray(self.labels), minlength=self.probabilities.shape[1])

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The most probable class of each image, `(images,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def margins(self) -> npt.NDArray[np.floating]:
        """How far the most probable class of each image leads before the next one, `(images,)`."""
        best = np.sort(self.probabilities, axis=1)[:, -2:]
        margins: npt.NDArray[np.floating] = best[:, 1] - best[:, 0]
        return margins
