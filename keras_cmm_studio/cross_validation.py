"""How good a classifier is, and which labels look wrong, by cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.metrics import confusion_matrix, wilson_interval
from keras_cmm_runtime.unknowns import HeldOutScores

Embeddings = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Predict = Callable[[Embeddings, Labels, Embeddings], npt.NDArray[np.floating]]
"""Trains on embeddings and labels, and returns the probabilities of other embeddings."""


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The probabilities that images got from classifiers that were trained without them.

    An image that is the only one of its class is not tested: without it, its class has none.

    Args:
        labels: `(images,)` class ids.
        probabilities: `(images, classes)`, NaN for an image that was not tested.
        folds: How many classifiers were trained.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [np.nan, np.nan]])
        >>> result = CrossValidation(np.array([0, 0, 0, 1]), probabilities, 3)
        >>> result.right, result.tested, result.suspicious()
        (2, 3, [1])
    """

    labels: Labels
    probabilities: npt.NDArray[np.floating]
    folds: int

    @property
    def rows(self) -> Labels:
        """The numbers of the images that were tested."""
        return np.flatnonzero(~np.isnan(self.probabilities[:, 0]))

    @property
    def tested(self) -> int:
        """How many images were tested."""
        return len(self.rows)

    @property
    def right(self) -> int:
        """How many of them were named right."""
        return int((self._predicted == self.labels[self.rows]).sum())

    @property
    def _predicted(self) -> Labels:
        return self.probabilities[self.rows].argmax(axis=1)

    def confusion(self) -> npt.NDArray[np.int64]:
        """Returns the counts, `(classes, classes)`: row = label, column = prediction."""
        classes = self.probabilities.shape[1]
        return confusion_matrix(self._predicted, self.labels[self.rows], classes)

    def suspicious(self) -> list[int]:
        """Returns the images whose label looks wrong, the most suspicious first.

        `keras_cmm.labelling.wrong_labels` finds them, as it does for `keras-cmm audit`.
        """
        from keras_cmm.labelling import wrong_labels

        found = wrong_labels(self.labels, self.probabilities)
        return [each.row for each in found if each.row is not None]

    def scores(self) -> HeldOutScores | None:
        """Returns how sure the classifiers were, or `None` if no image was tested."""
        rows = self.rows
        return HeldOutScores.of(self.probabilities[rows], self.labels[rows]) if len(rows) else None

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as JSON can hold them."""
        matrix = self.confusion()
        wrong = [
            (int(matrix[label, other]), label, other)
            for label, other in zip(*np.nonzero(matrix), strict=True)
            if label != other
        ]
        low, high = wilson_interval(self.right, self.tested) if self.tested else (None, None)
        return {
            "right": self.right,
            "tested": self.tested,
            "not_tested": len(self.labels) - self.tested,
            "accuracy": 100 * self.right / self.tested if self.tested else None,
            "low": low,
            "high": high,
            "folds": self.folds,
            "classes": [
                {"right": int(matrix[label, label]), "tested": int(matrix[label].sum())}
                for label in range(len(matrix))
            ],
            "confusions": [
                {"label": int(label), "prediction": int(other), "count": count}
                for count, label, other in sorted(wrong, key=lambda each: (-each[0], *each[1:]))
            ],
        }


def cross_validate(
    embeddings: Embeddings,
    labels: Labels,
    classes: int,
    predict: Predict,
    seed: int,
    progress: Callable[[float], None] = lambda part: None,
) -> CrossValidation:
    """Trains a classifier for each fold, and tests it on the images of the fold.

    Args:
        embeddings: `(images, dim)`.
        labels: `(images,)` class ids.
        classes: How many classes there are. Those without images are answers too.
        predict: Trains on the first two, and returns the probabilities of the third.
        seed: Seed of the folds.
        progress: Called with the part that is done.
    """
    from keras_cmm.labelling import out_of_fold, stratified_folds

    probabilities = out_of_fold(
        embeddings, labels, classes, predict, seed, lambda done, all_: progress(done / all_)
    )
    return CrossValidation(labels, probabilities, len(list(stratified_folds(labels, seed))))
