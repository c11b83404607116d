"""How much a second image encoder counts beside CLIP, in closed form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm.recipes.closed_form_start import rows_of_all_classes
from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm_runtime.utils.unit_rows import unit_rows

Array = npt.NDArray[np.floating[Any]]

# The grid of ridges, in mean eigenvalues. Neighbours differ by a factor of 2.6.
_RIDGES = np.geomspace(1e-3, 1e2, 13)

# Bounds time and memory: two numbers need no more rows, and neither does a kernel to start from.
_MAX_JUDGED_ROWS = 2000
_MAX_ROWS = 20_000

# What rounding leaves of a weight of 0.
_ROUNDING = 1e-9

# A second encoder counts for at most so many times CLIP's part, however little CLIP can tell.
_MAX_WEIGHT = 4.0


class SecondTower(NamedTuple):
    """What a second encoder adds to mapped images, see `second_tower`.

    Args:
        kernel: float32 `(also_dim, dim)`. It takes embeddings of the second encoder, of unit
            length, to what they add to images of CLIP, mapped and of unit length.
        weight: float in [0, 4], the second encoder's part of `kernel`, as a multiple of CLIP's. At
            0 the kernel is 0 too.
    """

    kernel: npt.NDArray[np.float32]
    weight: float


def second_tower(
    images: Array | LazyRows,
    also: Array | LazyRows,
    labels: npt.NDArray[np.integer],
    prototypes: Array,
) -> SecondTower:
    """Finds how a second encoder is mapped to the class prototypes, and how much it counts.

    The prototype of an image's class is predicted twice by ridge regression, from CLIP's embedding
    and from the second one. Each prediction is made without the image itself, in closed form, and
    each ridge is the one that predicts best so. The two predictions are then added up with the
    weights, none negative, that come nearest to the prototypes. Their ratio is the weight. So the
    second encoder counts only for what it tells beyond CLIP, of images that were left out. It
    counts for nothing if that is nothing, as with random embeddings or those of other images.

    At one image a class the others of the support set are all of other classes. Then the second
    encoder counts if images that are alike to it have prototypes that are alike.

    Args:
        images: `(images, dim)`, CLIP's embeddings, rows of unit length.
        also: `(images, also_dim)`, those of the second encoder, rows of unit length.
        labels: `(images,)` class ids.
        prototypes: `(classes, dim)`, rows of unit length.

    Returns:
        The kernel and the weight.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.recipes import second_tower
        >>> labels = np.arange(12) % 3
        >>> noise = np.random.default_rng(0).normal(size=(12, 8))
        >>> second_tower(noise, np.eye(3)[labels], labels, np.eye(3, 8)).weight
        4.0
        >>> second_tower(np.eye(3, 8)[labels], noise, labels, np.eye(3, 8)).weight
        0.0

    References:
        - Wolpert, "Stacked Generalization", Neural Networks 5, 1992.
        - Breiman, "Stacked Regressions", Machine Learning 24, 1996, for the weights, none negative,
          of predictions that leave each row out.
    """
    nothing = SecondTower(np.zeros((also.shape[1], prototypes.shape[1]), dtype="float32"), 0.0)
    some = rows_of_all_classes(labels, _MAX_ROWS)
    images, also, labels = np.asarray(images[some]), np.asarray(also[some]), labels[some]
    targets = np.asarray(prototypes, dtype="float64")[labels]
    targets = targets - targets.mean(axis=0)
    if len(labels) < 3 or not targets.any():
        return nothing
    judged = rows_of_all_classes(labels, _MAX_JUDGED_ROWS)
    of_clip, _ = _ridge_regression(images, targets, judged)
    of_also, kernel = _ridge_regression(also, targets, judged)
    clip_part, also_part = _stacked(targets[judged], of_clip, of_also)
    if also_part <= _ROUNDING * max(clip_part, 1.0):
        return nothing
    weight = also_part / max(clip_part, also_part / _MAX_WEIGHT)
    return SecondTower((weight * kernel).astype("float32"), float(weight))


def _ridge_regression(
    rows: Array, targets: Array, judged: npt.NDArray[np.int64]
) -> tuple[Array, Array]:
    """Predicts targets from embeddings.

    Args:
        rows: `(rows, width)`, of unit length.
        targets: `(rows, dim)`, of mean 0.
        judged: the rows to predict.

    Returns:
        What is predicted of the judged rows, each without itself, as deviations from the mean of
        the targets; and the kernel `(width, dim)` of the regression on all rows.
    """
    # Rows without the direction of their mean have the mean 0. So the kernel takes their mean to 0,
    # and needs no bias.
    rows = np.asarray(rows, dtype="float64")
    mean = unit_rows(rows.mean(axis=0)).astype("float64")
    deviations = rows - (rows @ mean)[:, None] * mean
    deviations = deviations - deviations.mean(axis=0)  # What rounding left of it.
    squares, left = _left_vectors(deviations)
    if not len(squares):
        return np.zeros((len(judged), targets.shape[1])), np.zeros((rows.shape[1], len(targets.T)))
    moments = left.T @ targets
    best: tuple[float, float, Array] | None = None
    for ridge in _RIDGES * squares.mean():
        shrunk = squares / (squares + ridge)
        fitted = (left[judged] * shrunk) @ moments
        # The row's part in the mean of the targets, and in the prediction.
        leverage = 1 / len(rows) + (left[judged] ** 2 @ shrunk)[:, None]
        errors = (targets[judged] - fitted) / np.maximum(1 - leverage, 1e-9)
        loss = float((errors**2).sum())
        if best is None or loss < best[0]:
            best = loss, float(ridge), targets[judged] - errors
    assert best is not None
    _, ridge, predicted = best
    kernel = deviations.T @ (left @ (moments / (squares + ridge)[:, None]))
    return predicted, kernel


def _left_vectors(rows: Array) -> tuple[Array, Array]:
    """Returns the squares of the singular values above 0, and the left singular vectors."""
    is_wide = rows.shape[0] <= rows.shape[1]
    squares, vectors = np.linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)
    kept = squares > max(1e-10 * squares.max(initial=0.0), 1e-12)
    squares, vectors = squares[kept], vectors[:, kept]
    return squares, vectors if is_wide else rows @ vectors / np.sqrt(squares)


def _stacked(targets: Array, first: Array, second: Array) -> tuple[float, float]:
    """Returns the factors, none negative, of two predictions whose sum is nearest to targets."""
    from scipy.optimize import nnls

    products = np.array(
        [[(a * b).sum() for b in (first, second)] for a in (first, second)], dtype="float64"
    )
    moments = np.array([(first * targets).sum(), (second * targets).sum()])
    # The same two factors as of the rows themselves, from a root of their products.
    values, vectors = np.linalg.eigh(products)
    kept = values > 1e-9 * max(values.max(), 1e-300)
    root = vectors[:, kept] * np.sqrt(values[kept])
    known = (vectors[:, kept].T @ moments) / np.sqrt(values[kept])
    factors, _ = nnls(root.T, known)
    return float(factors[0]), float(factors[1])
