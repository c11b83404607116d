"""How far an accuracy on few images can be off."""

from __future__ import annotations

from math import sqrt
from numbers import Integral
from statistics import NormalDist

from keras_cmm_runtime.errors import InputError


def wilson_interval(right: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns Wilson's confidence interval of an accuracy, in percent.

    It holds for one classifier and images that are drawn independently of it. The luck of the
    training images is not in it.

    Args:
        right: int. Number of images that were named right.
        total: int. Number of images, 1 or more.
        confidence: float between 0 and 1.

    Returns:
        The lower and the upper end.

    Raises:
        InputError: If an argument is out of range.

    Example:
        >>> low, high = wilson_interval(8, 12)
        >>> round(low, 1), round(high, 1)
        (39.1, 86.2)

    References:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    counts = isinstance(right, Integral) and isinstance(total, Integral)
    if not counts or not 0 <= right <= total or total < 1:
        raise InputError(
            "`right` and `total` must be ints with 0 <= right <= total and total >= 1. Received: "
            f"{right=}, {total=}"
        )
    if not 0 < confidence < 1:
        raise InputError(f"`confidence` must be a float between 0 and 1. Received: {confidence=}")
    z, rate = NormalDist().inv_cdf((1 + confidence) / 2), right / total
    centre = (rate + z**2 / (2 * total)) / (1 + z**2 / total)
    spread = z / (1 + z**2 / total) * sqrt(rate * (1 - rate) / total + (z / (2 * total)) ** 2)
    # Rounding must not leave [0, 100], nor the rate outside at its ends.
    low = 0.0 if right == 0 else centre - spread
    high = 1.0 if right == total else centre + spread
    return 100 * low, 100 * high


def interval_of_accuracy(accuracy: float, total: int) -> tuple[float, float]:
    """Returns the 95% interval of an accuracy in percent on `total` images.

    Example:
        >>> interval_of_accuracy(100 * 8 / 12, 12) == wilson_interval(8, 12)
        True
    """
    return wilson_interval(round(accuracy * total / 100), total)
