"""How sure a classifier is of images that it was not trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.check_number import is_finite_number


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """Probabilities of held-out images, by which new images are judged.

    Both thresholds are conformal: of `n` held-out images, the `floor(rate * (n + 1))` lowest are
    what lies below. If held-out and new images are exchangeable, the rate holds on average over
    draws of the held-out ones.

    Args:
        best: float32 `(images,)`: the largest probability of each image.
        own: float32 `(images,)`: the probability of each image's own class.

    Raises:
        InputError: if there is no image, or a score is not finite.

    Example:
        >>> import numpy as np
        >>> scores = HeldOutScores(np.linspace(0.5, 1.0, 99), np.linspace(0.0, 1.0, 99))
        >>> scores.is_unknown(np.array([[0.51, 0.49], [0.9, 0.1]]), reject=0.05)
        array([ True, False])
        >>> scores.prediction_sets(np.array([[0.7, 0.25, 0.05]]), coverage=0.9)
        array([[ True,  True, False]])

    References:
        - Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution
          Examples in Neural Networks", ICLR 2017, arXiv:1610.02136, for the largest probability.
        - Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005.
        - Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error
          Levels", JASA 2019, arXiv:1609.00451, for the sets.
    """

    best: npt.NDArray[np.float32]
    own: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("best", "own"):
            scores = np.sort(np.asarray(getattr(self, name), dtype="float32"))
            if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
                raise InputError(f"`{name}` must hold finite scores of one image or more.")
            object.__setattr__(self, name, scores)

    @classmethod
    def of(
        cls, probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
    ) -> HeldOutScores:
        """Returns the scores of `(images, classes)` probabilities and `(images,)` class ids."""
        return cls(probabilities.max(axis=1), probabilities[np.arange(len(labels)), labels])

    def as_lists(self) -> dict[str, list[float]]:
        """Returns the arguments of the constructor, for JSON."""
        return {name: getattr(self, name).astype(float).tolist() for name in ("best", "own")}

    def is_unknown(
        self, probabilities: npt.NDArray[np.floating], reject: float
    ) -> npt.NDArray[np.bool_]:
        """Returns which images have a smaller largest probability than all but `reject` held out.

        Args:
            probabilities: `(images, classes)`.
            reject: float in (0, 1). The part of images of the classes that may be rejected.

        Returns:
            bool `(images,)`.

        Raises:
            InputError: if `reject` is out of range, or there are too few held-out images for it.
        """
        lowest = _lowest(self.best, "reject", reject, reject)
        unknown: npt.NDArray[np.bool_] = probabilities.max(axis=1).astype("float32") < lowest
        return unknown

    def prediction_sets(
        self, probabilities: npt.NDArray[np.floating], coverage: float
    ) -> npt.NDArray[np.bool_]:
        """Returns the classes that hold the right one with probability `coverage`.

        Args:
            probabilities: `(images, classes)`.
            coverage: float in (0, 1).

        Returns:
            bool `(images, classes)`. The most probable class is always in.

        Raises:
            InputError: if `coverage` is out of range, or there are too few held-out images for it.
        """
        is_number = is_finite_number(coverage)
        lowest = _lowest(self.own, "coverage", coverage, is_number and 1 - coverage)
        rows = probabilities.astype("float32")
        # An empty set would tell nothing, and one class more never lowers the coverage.
        least = np.minimum(rows.max(axis=1, keepdims=True), lowest)
        sets: npt.NDArray[np.bool_] = rows >= least
        return sets


def _lowest(scores: npt.NDArray[np.float32], name: str, value: float, rate: float) -> np.float32:
    """Returns the smallest score that is not among the part `rate` of lowest ones."""
    if not is_finite_number(value) or not 0 < value < 1:
        raise InputError(f"`{name}` must be a float in (0, 1). Received: {name}={value!r}")
    # Not 1 less where 0.1 is 0.09999999999999998. Next to 1, a rate is rounded to 1.
    rank = min(math.floor(rate * (len(scores) + 1) + 1e-9), len(scores))
    if not rank:
        possible = 1 / (len(scores) + 1)
        nearest = possible if name == "reject" else 1 - possible
        # In three digits, rounded to the side that is possible.
        rounding = math.ceil if name == "reject" else math.floor
        nearest = min(rounding(nearest * 1000) / 1000, 0.999)
        needed = math.ceil(1 / max(rate, 1e-15) - 1 - 1e-9)  # 1 / 5e-324 would be infinite.
        raise InputError(
            f"`{name}` needs {needed} held-out images or more, and there are {len(scores)}: "
            "calibrate on more, as `keras-cmm fit --folds 5` does, or take "
            f"{name}={nearest:g}. Received: {name}={value!r}"
        )
    lowest: np.float32 = scores[rank - 1]
    return lowest
