"""What the class texts tell before any training: how far to trust them, and where images lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.utils.unit_rows import unit_rows

Array = npt.NDArray[np.floating[Any]]

# The grid of ridges, in squared lengths of a class's text.
_RIDGES = np.geomspace(0.01, 1000.0, 21)

# Bounds time and memory: one ridge needs no more classes.
_MAX_JUDGED_CLASSES = 2000


def text_trust(logits: Array, labels: npt.NDArray[np.integer]) -> float:
    """Returns how far the class texts can be trusted, from 0 to 1, by the support set alone.

    CLIP's logits are multiplied by the factor that makes the labels most probable. A factor near 1
    says that the texts tell the classes apart as CLIP's logit scale claims. A lower factor says
    that they are sure of more than they know: some name other classes, or they hold much that says
    nothing of the images. A factor near 0 says that they tell nothing, as texts of meaningless
    class names do. The trust is full from the factor 1 on, and below it falls with the square of
    the factor: beside the images, texts count for less than they would alone.

    Args:
        logits: `(images, classes)`, CLIP's own logits of the support set.
        labels: `(images,)` class ids.

    Example:
        >>> import numpy as np
        >>> logits, labels = 9.0 * np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 2, 1])
        >>> round(text_trust(logits, labels), 2)
        0.04
        >>> text_trust(-logits, labels)
        0.0
    """
    from scipy.optimize import brentq
    from scipy.special import softmax

    own = logits[np.arange(len(logits)), labels].mean()

    def slope(factor: float) -> float:
        """Returns the slope of the cross-entropy over the factor."""
        return float((softmax(factor * logits, axis=1) * logits).sum(axis=1).mean() - own)

    # The cross-entropy is convex in the factor: where it still falls, its minimum lies beyond.
    if slope(1.0) <= 0:
        return 1.0
    if slope(0.0) >= 0:
        return 0.0
    return float(brentq(slope, 0.0, 1.0)) ** 2


def text_places(
    image_deviations: Array,
    text_deviations: Array,
    counts: npt.NDArray[np.integer],
    shrinkage_factor: float,
) -> Array:
    """Returns where the images of each class are expected, as deviations from the mean image.

    The texts' deviations are scaled to fit the images' deviations, with a prior for the scale 1
    that weighs as much as one image. What this leaves is predicted from the texts by ridge
    regression. The prediction for a class with images never sees them. The
    ridge is the one that predicts left-out classes best.

    Args:
        image_deviations: `(classes, dim)`, mean image of each class less the mean of all images.
            The row of a class without images is not used.
        text_deviations: `(classes, dim)`, texts less their mean over the images.
        counts: `(classes, 1)`, images of each class.
        shrinkage_factor: float > 0. The best ridge is multiplied by it for classes with images.
    """
    squares = (counts * text_deviations**2).sum()
    products = (counts * text_deviations * image_deviations).sum()
    prior = (text_deviations**2).sum() / len(text_deviations)
    places: Array = max(0.0, (products + prior) / max(squares + prior, 1e-12)) * text_deviations
    values, vectors = np.linalg.eigh((counts * text_deviations).T @ text_deviations)
    texts = text_deviations @ vectors
    left = np.where(counts, image_deviations - places, 0.0)
    moments = (counts * texts).T @ left
    seen = np.flatnonzero(counts)
    unseen = np.flatnonzero(counts == 0)
    judged = seen[:: math.ceil(len(seen) / _MAX_JUDGED_CLASSES)]

    def predict_without(rows: Any, ridge: float) -> tuple[Array, Array]:
        """Returns the prediction without the class itself, and the leverage of the class."""
        inverse = 1 / (np.maximum(values, 0.0) + ridge)
        predicted = texts[rows] @ (inverse[:, None] * moments)
        leverage = counts[rows] * (texts[rows] ** 2 @ inverse)[:, None]
        return (predicted - leverage * left[rows]) / (1 - leverage), leverage

    def loss(ridge: float) -> float:
        predicted, leverage = predict_without(judged, ridge)
        # The class has a part in the mean of all images, too.
        own = counts[judged] / counts.sum() / (1 - leverage)
        errors = (left[judged] - predicted) / np.maximum(1 - own, 1e-6)
        return float((counts[judged] * errors**2).sum())

    ridges = _RIDGES * max(squares, 1e-12) / len(seen)
    losses = np.array([loss(ridge) for ridge in ridges])
    # Where texts tell nothing, losses differ by rounding alone, which must not choose.
    ridge = ridges[np.isclose(losses, losses.min(), rtol=1e-6)].max()
    places[seen] += predict_without(seen, shrinkage_factor * ridge)[0]
    places[unseen] += predict_without(unseen, ridge)[0]
    return places


def share_text_logits(
    prototypes: Array,
    transform: Array,
    mapped: Array,
    texts: Array,
    scale: float,
    text_scale: float,
) -> tuple[npt.NDArray[np.float32], float]:
    """Adds a part of CLIP's own logits to those of the prototypes.

    `x @ text` equals `(x @ transform) @ (inverse transform @ text)`, so the sum of both logits is
    linear in mapped images. Its rows differ in length, and unit length would favour the short ones.
    So the part of each row along the mean image, which all images see alike, is kept. Only the part
    across it is scaled to make up the length.

    Args:
        prototypes: `(classes, dim)`, rows of unit length, in the space of mapped images.
        transform: `(dim, dim)`, the symmetric map.
        mapped: `(images, dim)`, images after the map.
        texts: `(classes, dim)`, rows of unit length.
        scale: float > 0. Logit scale of the prototypes.
        text_scale: float >= 0. Logit scale of the added part.

    Returns:
        The new prototypes, float32 `(classes, dim)` of unit length, and their logit scale.
    """
    lengths = np.linalg.norm(mapped, axis=1, keepdims=True)
    text_part = np.linalg.solve(transform, texts.T).T
    rows = scale * prototypes + (text_scale * lengths.mean()) * text_part
    new_scale = float(np.linalg.norm(rows, axis=1).mean())
    centre = unit_rows(unit_rows(mapped).mean(axis=0))
    along = (rows @ centre)[:, None]
    across = rows - along * centre
    cosine = np.clip(along / new_scale, -1.0, 1.0)
    shared = cosine * centre + np.sqrt(1 - cosine**2) * unit_rows(across)
    return shared.astype("float32"), new_scale
