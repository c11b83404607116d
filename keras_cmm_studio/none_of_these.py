"""When a picture is none of the classes."""

from __future__ import annotations

from keras_cmm_runtime.unknowns import HeldOutScores

_REJECT = 0.05


def reject_rate(scores: HeldOutScores) -> float:
    """Returns the `reject` that pictures are judged with.

    It is 0.05, or the smallest that can be promised with so few held-out images.

    Args:
        scores: Of the held-out images.

    Example:
        >>> import numpy as np
        >>> twelve, hundred = np.ones(12), np.ones(100)
        >>> round(reject_rate(HeldOutScores(twelve, twelve)), 4)
        0.0769
        >>> reject_rate(HeldOutScores(hundred, hundred))
        0.05
    """
    return max(_REJECT, 1 / (len(scores.best) + 1))
