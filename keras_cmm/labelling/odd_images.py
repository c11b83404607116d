"""Images that are like no other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_cmm.labelling.finding import Finding
from keras_cmm.labelling.nearest_rows import nearest_rows
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import unit_rows

# The nearest image alone may be a copy, and small classes have a handful of images.
_NEAREST = 5
# Tukey's fence: of normal values, 7 in 1,000 lie beyond, at both sides together.
_FENCE = 1.5
_UNSURE = 0.25
_LEAST_IMAGES = 20


def odd_images(
    embeddings: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    probabilities: npt.NDArray[np.floating],
) -> list[Finding]:
    """Finds images that are far from all others, and that the classifier is not sure of.

    Far is below Tukey's fence: the mean cosine to the five nearest images is lower than the first
    quartile by 1.5 times the distance of the quartiles. How sure a classifier is, is its largest
    probability, by which `predict --reject` calls an image unknown. An odd image is among the least
    sure quarter.

    Args:
        embeddings: `(images, dim)`.
        labels: `(images,)` class ids.
        probabilities: `(images, classes)`, see `out_of_fold`; NaN for an image that was not tested,
            which is judged by its neighbours alone.

    Returns:
        The images, the farthest first. `score` is their distance to the nearest, from 0 to 2. None
        of fewer than 20 images is odd: there is nothing to compare it with.

    Raises:
        InputError: If the shapes do not fit.

    Example:
        >>> rows = np.eye(3)[[0] * 30 + [1]] + 0.01 * np.random.default_rng(0).normal(size=(31, 3))
        >>> probabilities = np.array([[0.9, 0.1]] * 30 + [[0.6, 0.4]])
        >>> odd_images(rows, np.zeros(31, int), probabilities)[0].row
        30
    """
    rows = np.asarray(embeddings, dtype="float32")
    if rows.ndim != 2 or not len(rows) == len(labels) == len(probabilities):
        raise InputError(
            "`embeddings`, `labels` and `probabilities` must be of the same images. "
            f"Received: {rows.shape}, {np.shape(labels)} and {np.shape(probabilities)}"
        )
    if len(rows) < _LEAST_IMAGES:
        return []
    rows = unit_rows(rows)
    similarities = nearest_rows(rows, _NEAREST)[0].mean(axis=1)
    low, high = np.percentile(similarities, [25, 75])
    is_odd = similarities < low - _FENCE * (high - low)
    tested = ~np.isnan(probabilities[:, 0])
    if tested.any():
        best = probabilities[tested].max(axis=1)
        is_odd[tested] &= best < np.quantile(best, _UNSURE)
    found = np.flatnonzero(is_odd)
    return [
        Finding(
            "odd",
            float(1 - similarities[row]),
            f"far from all others, similarity {similarities[row]:.2f} where most have {low:.2f} or "
            "more",
            row=int(row),
            label=int(labels[row]),
        )
        for row in found[np.argsort(similarities[found], kind="stable")]
    ]
