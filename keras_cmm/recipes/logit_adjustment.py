"""Logit adjustment: training that favours no class for the number of its images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.utils.check_number import check_number


def logit_adjustment(
    labels: npt.NDArray[np.integer[Any]],
    num_classes: int,
    strength: float,
    sample_weight: npt.NDArray[np.floating[Any]] | None = None,
) -> npt.NDArray[np.float64]:
    """Returns what training adds to the logit of each class.

    It is `strength * log(rows of the class / mean rows of a class)`. A class with few rows gets a
    lower logit in training, so training has to push it higher.

    Args:
        labels: `(rows,)` class ids of the rows to train on. A class without rows counts as if it
            had one.
        num_classes: int. The number of classes.
        strength: float >= 0. 0 adjusts nothing.
        sample_weight: `(rows,)` or `None`. What each row counts for, instead of 1.

    Returns:
        `(num_classes,)`, zeros where all classes have rows of the same total weight.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.recipes import logit_adjustment
        >>> logit_adjustment(np.array([0, 0, 0, 1]), 3, strength=1.0).round(2)
        array([ 0.59, -0.51, -0.51])

    References:
        Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, arXiv:2007.07314.
    """
    check_number("strength", strength, ">= 0")
    counts = np.bincount(labels, sample_weight, minlength=num_classes).astype("float64")
    counts[counts <= 0] = 1.0 if sample_weight is None else max(np.mean(sample_weight), 1e-6)
    return strength * np.log(counts / counts.mean())
