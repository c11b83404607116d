"""What a classifier says of images that it was not trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.check_number import is_finite_number

Array = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """Scores of held-out images, against which new images are judged.

    They need no classifier and no Keras. Both thresholds are conformal: of `n` held-out images, the
    `floor(rate * (n + 1))` lowest are what lies below.

    Args:
        likeness: float32 `(images,)`: how like the classes each image is.
        own_probability: float32 `(images,)`: the probability of each image's own class.

    Raises:
        InputError: if there is no image, or the scores are not finite.

    Example:
        >>> import numpy as np
        >>> scores = HeldOutScores(np.linspace(0.0, 1.0, 99), np.linspace(0.0, 1.0, 99))
        >>> scores.is_unknown([0.01, 0.5], reject=0.05)
        array([ True, False])
        >>> scores.prediction_sets([[0.7, 0.25, 0.05]], coverage=0.9)
        array([[ True,  True, False]])

    References:
        - Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005.
        - Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error
          Levels", JASA 2019, arXiv:1609.00451, for the sets.
    """

    likeness: npt.NDArray[np.float32]
    own_probability: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("likeness", "own_probability"):
            scores = np.sort(np.asarray(getattr(self, name), dtype="float32"))
            if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
                raise InputError(f"`{name}` must hold finite scores of one image or more.")
            object.__setattr__(self, name, scores)

    def threshold(self, reject: float) -> float:
        """Returns the likeness below which an image is unknown.

        Args:
            reject: float in (0, 1). The part of images of the classes that may be rejected.

        Raises:
            InputError: if `reject` is out of range, or there are too few held-out images for it.
        """
        return _lowest(self.likeness, "reject", reject, reject)

    def is_unknown(self, likeness: npt.ArrayLike, reject: float) -> npt.NDArray[np.bool_]:
        """Returns which images are less like the classes than all but `reject` of the held-out.

        Args:
            likeness: `(images,)`, of new images.
            reject: as in `threshold`.

        Returns:
            bool `(images,)`.
        """
        unknown: npt.NDArray[np.bool_] = np.asarray(likeness, "float32") < self.threshold(reject)
        return unknown

    def prediction_sets(
        self, probabilities: npt.ArrayLike, coverage: float
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
        lowest = _lowest(self.own_probability, "coverage", coverage, is_number and 1 - coverage)
        rows = np.asarray(probabilities, "float32")
        # An empty set would tell nothing, and one class more never lowers the coverage.
        least = np.minimum(rows.max(axis=1, keepdims=True), np.float32(lowest))
        sets: npt.NDArray[np.bool_] = rows >= least
        return sets


def _lowest(scores: npt.NDArray[np.float32], name: str, value: float, rate: float) -> float:
    """Returns the smallest score that is not among the part `rate` of lowest ones."""
    if not is_finite_number(value) or not 0 < value < 1:
        raise InputError(f"`{name}` must be a float in (0, 1). Received: {name}={value!r}")
    # Not 1 less where 0.1 is 0.09999999999999998.
    rank = math.floor(rate * (len(scores) + 1) + 1e-9)
    if not rank:
        needed = math.ceil(1 / rate - 1 - 1e-9)
        possible = 1 / (len(scores) + 1)
        nearest = possible if name == "reject" else 1 - possible
        raise InputError(
            f"`{name}` needs {needed} held-out images or more, and there are {len(scores)}: "
            f"calibrate on more, or take {name}={_rounded(nearest, name)}. "
            f"Received: {name}={value!r}"
        )
    return float(scores[rank - 1])


def _rounded(value: float, name: str) -> str:
    """Returns a rate in three digits, rounded to the side that is possible."""
    rounding = math.ceil if name == "reject" else math.floor
    return f"{min(rounding(value * 1000) / 1000, 0.999):g}"
