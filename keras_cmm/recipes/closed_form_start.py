"""The closed-form start of a CMM head: a linear discriminant with the texts as prior."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from keras_cmm.recipes.text_prior import text_places
from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm_runtime.utils.check_number import check_number
from keras_cmm_runtime.utils.unit_rows import unit_rows

Array = npt.NDArray[np.floating[Any]]

# The grid of shrinkages. Neighbours differ by a sixth, which no accuracy can tell apart.
_SHRINKAGES = np.geomspace(0.001, 1.0, 46)

# Bounds time and memory: one number needs no more rows.
_MAX_JUDGED_ROWS = 4000


class ClosedFormStart(NamedTuple):
    """A linear map, class prototypes and text rows, see `closed_form_start`.

    Args:
        transform: float32 `(dim, dim)`, symmetric. Mapped images are `x @ transform`.
        prototypes: float32 `(classes, dim)`, rows of unit length, in the space of mapped images.
        text_rows: float32 `(classes, dim)`, rows of unit length, in the space of images.
    """

    transform: npt.NDArray[np.float32]
    prototypes: npt.NDArray[np.float32]
    text_rows: npt.NDArray[np.float32]


def closed_form_start(
    embeddings: Array | LazyRows,
    labels: npt.NDArray[np.integer],
    text_embeddings: Array,
    prior_shots: float = 2.0,
    shrinkage_factor: float = 4.0,
) -> ClosedFormStart:
    """Estimates a linear discriminant from a support set, with the texts as prior of the means.

    The mean of a class is a weighted mean of its images and of its text's place among the images,
    see `text_places`. The place counts for `prior_shots` images. So one image per class is enough,
    and a class without images is at its text's place.

    The map is the inverse square root of the covariance of the images around these means. The
    covariance is shrunk towards the identity, because few images tell little of it. The shrinkage
    is `shrinkage_factor` times the one that maximises the leave-one-out likelihood. It is at most
    `dim / (dim + images - 1)`, the value of Wang et al.

    The images are read twice, a block at a time. What is kept of them grows with the classes and
    with the square of `dim`, not with the images.

    Args:
        embeddings: `(images, dim)`, rows of unit length.
        labels: `(images,)` class ids. A class may have no image.
        text_embeddings: `(classes, dim)`, rows of unit length.
        prior_shots: float >= 0. How many images the text of a class counts for.
        shrinkage_factor: float > 0. Classes are told apart best by more shrinkage than the
            likelihood asks for. It applies to the covariance and to the regression of
            `text_places`.

    Returns:
        The map, the prototypes, and one row per class to train on as if it were an image: the text
        moved to the mean image, or for a class without images its text's place.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.recipes import closed_form_start
        >>> texts = np.eye(3, 8)
        >>> start = closed_form_start(np.eye(3, 8, 1), np.arange(3), texts)
        >>> start.transform.shape, start.prototypes.shape
        ((8, 8), (3, 8))

    References:
        - Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024,
          arXiv:2402.04087.
        - Theiler, "The Incredible Shrinking Covariance Estimator", SPIE 8391, 2012, for the
          leave-one-out likelihood in closed form.
    """
    check_number("prior_shots", prior_shots, ">= 0")
    check_number("shrinkage_factor", shrinkage_factor, "> 0")
    texts = np.asarray(text_embeddings, dtype="float64")
    num_classes, dim = texts.shape
    counts = np.bincount(labels, minlength=num_classes)[:, None]
    seen = counts > 0
    sums = np.zeros((num_classes, dim))
    for block, images in LazyRows.of(embeddings).blocks():
        of_class = csr_array(
            (np.ones(len(images)), (labels[block], np.arange(len(images)))),
            shape=(num_classes, len(images)),
        )
        sums += of_class @ images
    centre = sums.sum(axis=0) / len(labels)
    image_deviations = (sums - counts * centre) / np.maximum(counts, 1)
    text_deviations = texts - (counts * texts).sum(axis=0) / len(labels)
    places = text_places(image_deviations, text_deviations, counts, shrinkage_factor)
    weight = counts / (counts + prior_shots) if prior_shots else seen.astype("float64")
    means = centre + weight * image_deviations + (1 - weight) * places

    transform = _whitening(LazyRows.of(embeddings), labels, means, shrinkage_factor)
    return ClosedFormStart(
        transform.astype("float32"),
        unit_rows(means @ transform),
        unit_rows(centre + np.where(seen, text_deviations, places)),
    )


def rows_of_all_classes(labels: npt.NDArray[np.integer], most: int) -> npt.NDArray[np.int64]:
    """Returns at most `most` row numbers, taken evenly from all classes in any order of rows.

    Args:
        labels: `(rows,)` class ids.
        most: int >= 1. How many rows there may be.

    Example:
        >>> import numpy as np
        >>> rows_of_all_classes(np.array([0, 1, 0, 1]), most=2)
        array([0, 1])
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    return np.argsort(labels, kind="stable")[:: math.ceil(len(labels) / most)]


def _whitening(
    embeddings: LazyRows,
    labels: npt.NDArray[np.integer],
    means: Array,
    shrinkage_factor: float,
) -> Array:
    """Returns the inverse square root of the shrunk covariance around the means, `(dim, dim)`.

    Its scale is that of a covariance of mean variance 1.
    """
    rows, dim = embeddings.shape
    total, products = np.zeros(dim), np.zeros((dim, dim))
    for block, images in embeddings.blocks():
        residuals = images - means[labels[block]]
        total += residuals.sum(axis=0)
        products += residuals.T @ residuals
    mean = total / rows
    values, vectors = np.linalg.eigh(products / rows - np.outer(mean, mean))
    values = np.maximum(values, 0.0)
    variance = values.mean()
    if variance <= 1e-12:  # Every image lies on its mean: there is no covariance to undo.
        return np.eye(dim)
    judged = rows_of_all_classes(labels, _MAX_JUDGED_ROWS)
    residuals = np.asarray(embeddings[judged]) - means[labels[judged]] - mean
    likeliest = _likeliest_shrinkage(residuals, rows, values, vectors)
    shrinkage = min(shrinkage_factor * likeliest, dim / (dim + rows - 1))
    shrunk = (1 - shrinkage) * values / variance + shrinkage
    return (vectors * shrunk**-0.5) @ vectors.T


def _likeliest_shrinkage(residuals: Array, rows: int, values: Array, vectors: Array) -> float:
    """Returns the shrinkage of the largest leave-one-out likelihood.

    Args:
        residuals: `(judged, dim)` deviations from the mean, of the rows whose likelihood counts.
        rows: the number of all rows.
        values: `(dim,)` eigenvalues of their covariance.
        vectors: `(dim, dim)` its eigenvectors, in the columns.
    """
    squares = (residuals @ vectors) ** 2
    # The mean of the others deviates the other way, by 1 / (rows - 1) of the row.
    others = rows / (rows - 1)
    likelihoods = []
    for shrinkage in _SHRINKAGES:
        spectrum = (1 - shrinkage) * others * values + shrinkage * values.mean()
        distances = squares @ (1 / spectrum)
        # Without the row, the covariance lacks a multiple of its square (Sherman-Morrison).
        left = np.maximum(1 - (1 - shrinkage) * others / (rows - 1) * distances, 1e-9)
        logarithms = np.log(spectrum).sum() + np.log(left).mean()
        likelihoods.append(-logarithms - others**2 * (distances / left).mean())
    return float(_SHRINKAGES[int(np.argmax(likelihoods))])
