"""Which classes a classifier takes for one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.metrics.accuracy import confusion_matrix


class Confusion(NamedTuple):
    """How often one class was taken for another.

    Attributes:
        name: Name of the true class.
        taken_for: Name of the predicted class.
        times: Number of images of the true class that got this prediction.
        total: Number of images of the true class.
    """

    name: str
    taken_for: str
    times: int
    total: int

    def __str__(self) -> str:
        return f"{self.times:5} of {self.total:5}  {self.name}  taken for  {self.taken_for}"


def frequent_confusions(
    predictions: npt.NDArray[np.integer],
    labels: npt.NDArray[np.integer],
    class_names: Sequence[str],
    most: int = 12,
) -> list[Confusion]:
    """Returns the pairs of classes that are confused most often, most frequent first.

    Args:
        predictions: Predicted class ids, shape `(batch,)`.
        labels: True class ids, shape `(batch,)`.
        class_names: Name of each class.
        most: Number of pairs to return at most.

    Returns:
        One `Confusion` a pair of true and predicted class. Pairs that never occur are left out.

    Example:
        >>> import numpy as np
        >>> predictions, labels = np.array([1, 1, 0]), np.array([0, 1, 0])
        >>> for confusion in frequent_confusions(predictions, labels, ["ant", "bee"]):
        ...     print(confusion)
            1 of     2  ant  taken for  bee
    """
    matrix = confusion_matrix(predictions, labels, len(class_names))
    totals = matrix.sum(axis=1)
    np.fill_diagonal(matrix, 0)
    pairs = np.argwhere(matrix)
    order = np.argsort(-matrix[tuple(pairs.T)], kind="stable")[:most]
    names = class_names
    return [
        Confusion(names[true], names[other], int(matrix[true, other]), int(totals[true]))
        for true, other in pairs[order]
    ]
