"""Where a CMM head starts, in closed form from its support set."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm._unit_rows import unit_rows

Array = npt.NDArray[np.floating[Any]]

_SHRINKAGES = np.geomspace(0.001, 1.0, 46)

# Bounds time and memory; one number needs no more.
_MAX_JUDGED_ROWS = 4000


class SupportStart(NamedTuple):
    """A linear map, class prototypes and text rows, see `support_start`.

    Args:
        transform: float32 `(dim, dim)`. Mapped images are `x @ transform`.
        prototypes: float32 `(classes, dim)`, rows of unit length, in the space of mapped images.
        text_rows: float32 `(classes, dim)`, rows of unit length, in the space of images.
    """

    transform: npt.NDArray[np.float32]
    prototypes: npt.NDArray[np.float32]
    text_rows: npt.NDArray[np.float32]


def support_start(
    embeddings: Array,
    labels: npt.NDArray[np.integer],
    text_embeddings: Array,
    prior_shots: float = 2.0,
    shrinkage_factor: float = 4.0,
) -> SupportStart:
    """Estimates a linear discriminant from a support set, with the texts as prior of the means.

    The mean of a class is what `prior_shots` images at its text's place and its own images give;
    a class without images is at its text's place. That place is the mean of all images, plus the
    text's deviation from the mean text, scaled by least squares to the images' deviations. So the
    gap between the modalities drops out, and one image a class is enough.

    The map is the inverse square root of the covariance of the images around these means. What few
    images cannot tell is shrunk towards the identity: by `shrinkage_factor` times what makes each
    image likeliest by the covariance of all others, and by no more than `dim / (dim + images - 1)`,
    which is what Wang et al. take.

    Args:
        embeddings: `(images, dim)`, rows of unit length.
        labels: `(images,)` class ids. A class may have no image.
        text_embeddings: `(classes, dim)`, rows of unit length.
        prior_shots: float >= 0. How many images a text counts for.
        shrinkage_factor: float > 0. Classes are told apart best by more shrinkage than is
            likeliest.

    Returns:
        Map, prototypes, and the texts moved to the images' mean, to be trained on as images.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.models.support_start import support_start
        >>> texts = np.eye(3, 8)
        >>> start = support_start(np.eye(3, 8, 1), np.arange(3), texts)
        >>> start.transform.shape, start.prototypes.shape
        ((8, 8), (3, 8))

    References:
        - Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024,
          arXiv:2402.04087.
        - Theiler, "The Incredible Shrinking Covariance Estimator", SPIE 8391, 2012, for the
          leave-one-out likelihood in closed form.
    """
    images = np.asarray(embeddings, dtype="float64")
    texts = np.asarray(text_embeddings, dtype="float64")
    num_classes, dim = texts.shape
    counts = np.bincount(labels, minlength=num_classes)[:, None]
    sums = np.zeros((num_classes, dim))
    np.add.at(sums, labels, images)
    centre, text_centre = images.mean(axis=0), texts.mean(axis=0)
    image_deviations = (sums - counts * centre) / np.maximum(counts, 1)
    text_deviations = texts - text_centre
    seen = counts[:, 0] > 0
    slope = max(
        0.0,
        (image_deviations[seen] * text_deviations[seen]).sum()
        / max((text_deviations[seen] ** 2).sum(), 1e-12),
    )
    weight = counts / (counts + prior_shots) if prior_shots else seen[:, None].astype("float64")
    means = centre + weight * image_deviations + (1 - weight) * slope * text_deviations

    residuals = images - means[labels]
    values, vectors = np.linalg.eigh(residuals.T @ residuals / len(images))
    values = np.maximum(values, 0.0)
    variance = values.mean()
    if variance > 1e-12:
        likeliest = _likeliest_shrinkage(residuals, values, vectors)
        shrinkage = min(shrinkage_factor * likeliest, dim / (dim + len(images) - 1))
        shrunk = (1 - shrinkage) * values / variance + shrinkage
        transform = (vectors * shrunk**-0.5) @ vectors.T
    else:  # Every image lies on its mean: there is no covariance to undo.
        transform = np.eye(dim)
    return SupportStart(
        transform.astype("float32"),
        unit_rows(means @ transform),
        unit_rows(texts + centre - text_centre),
    )


def _likeliest_shrinkage(
    residuals: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    vectors: npt.NDArray[np.float64],
) -> float:
    """Returns the shrinkage by which each row is likeliest, given the others.

    Args:
        residuals: `(rows, dim)` deviations from the mean.
        values: `(dim,)` eigenvalues of their covariance.
        vectors: `(dim, dim)` its eigenvectors, in the columns.
    """
    rows = len(residuals)
    squares = (residuals[:: math.ceil(rows / _MAX_JUDGED_ROWS)] @ vectors) ** 2
    # The others' mean deviates the other way, by 1 / (rows - 1) of the row.
    others = rows / (rows - 1)
    likelihoods = []
    for shrinkage in _SHRINKAGES:
        spectrum = (1 - shrinkage) * others * values + shrinkage * values.mean()
        distances = squares @ (1 / spectrum)
        # Without the row: the covariance falls by a multiple of its square (Sherman-Morrison).
        left = np.maximum(1 - (1 - shrinkage) * others / (rows - 1) * distances, 1e-9)
        logarithms = np.log(spectrum).sum() + np.log(left).mean()
        likelihoods.append(-logarithms - others**2 * (distances / left).mean())
    return float(_SHRINKAGES[int(np.argmax(likelihoods))])
