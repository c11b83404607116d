"""The predictions of one classifier on test pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError


@dataclass(frozen=True, eq=False)
class ClassifierResult:
    """The predictions of one classifier on a test set.

    Args:
        class_names: Name of each class.
        labels: True class ids, shape `(batch,)`.
        probabilities: Probabilities or any other scores that rank the classes, shape
            `(batch, classes)`.

    Raises:
        InputError: If shapes disagree, there is no row or a label is out of range.

    Example:
        >>> import numpy as np
        >>> result = ClassifierResult(["ant", "bee"], np.array([1]), np.array([[0.2, 0.8]]))
        >>> result.predictions
        array([1])
    """

    class_names: Sequence[str]
    labels: npt.NDArray[np.integer]
    probabilities: npt.NDArray[np.floating]

    def __post_init__(self) -> None:
        expected = (len(self.labels), len(self.class_names))
        if not expected[0] or self.probabilities.shape != expected:
            raise InputError(
                "`probabilities` must have one row for each label, at least one, and one column "
                f"for each class name: {expected}. Received: {self.probabilities.shape}"
            )
        if self.labels.min() < 0 or self.labels.max() >= len(self.class_names):
            raise InputError(
                f"`labels` must lie in [0, {len(self.class_names)}). "
                f"Received: {self.labels.min()} to {self.labels.max()}"
            )

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """Class id of the highest score of each row, shape `(batch,)`."""
        return self.probabilities.argmax(axis=1)
