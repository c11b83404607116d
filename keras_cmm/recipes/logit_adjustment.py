"""What training adds to the logits of classes with more images than others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def count_offsets(
    labels: npt.NDArray[np.integer[Any]],
    num_classes: int,
    adjustment: float,
    weights: npt.NDArray[np.floating[Any]] | None = None,
) -> npt.NDArray[np.float64]:
    """Returns the offsets that keep training from favouring classes for the number of their rows.

    Args:
        labels: `(rows,)` class ids of the rows to train on. A class without rows counts as
            if it had one.
        num_classes: int. The number of classes.
        adjustment: float >= 0. What the logarithm of the rows is multiplied by.
        weights: `(rows,)` or `None`. What each row counts for, instead of 1.

    Returns:
        `(num_classes,)`, zeros where all classes have rows of the same weight.

    Example:
        >>> from keras_cmm.recipes.logit_adjustment import count_offsets
        >>> count_offsets(np.array([0, 0, 0, 1]), 3, adjustment=1.0).round(2)
        array([ 0.59, -0.51, -0.51])

    References:
        Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, arXiv:2007.07314.
    """
    counts = np.bincount(labels, weights, minlength=num_classes).astype("float64")
    counts[counts <= 0] = 1.0 if weights is None else max(np.mean(weights), 1e-6)
    return adjustment * np.log(counts / counts.mean())
