"""Where a CMM head starts, in closed form from its support set."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm.utils.unit_rows import unit_rows

Array = npt.NDArray[np.floating[Any]]

_SHRINKAGES = np.geomspace(0.001, 1.0, 46)

# In squared lengths of a class's text.
_RIDGES = np.geomspace(0.01, 1000.0, 21)

# With this many classes that have images, what these tell of the place of a class without any
# counts for half, and its own text for the other half.
_TELLING_CLASSES = 5

# The map may lengthen the mean image by so much. On CLIP's embeddings as they are it does by about
# 1.4 at most. It would by far more where all have a constant in common from which none deviates, as
# those of fewer dimensions may in more: after the map, all would point there. Of bounds from 1
# to 5, this one is best for train rows of Stanford Cars with such a constant.
_MAX_MEAN_GAIN = 3.0

# Bound time and memory; one number needs no more.
_MAX_JUDGED_ROWS = 4000
_MAX_JUDGED_CLASSES = 2000


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
    text's deviation from the mean of their texts, mapped by ridge regression from the texts to the
    images of the other classes. So the gap between the modalities drops out, one image a class is
    enough, and a class without any is told by those that have some; the fewer these are, the more
    its text's deviation itself counts.

    The map is the inverse square root of the covariance of the images around these means. What few
    images cannot tell is shrunk towards the identity: by `shrinkage_factor` times what makes each
    image likeliest by the covariance of all others, and by no more than `dim / (dim + images - 1)`,
    which is what Wang et al. take. What all images have in common tells no class from another, so
    the mean image is lengthened at most threefold, however little images vary along it.

    Args:
        embeddings: `(images, dim)`, rows of unit length.
        labels: `(images,)` class ids. A class may have no image.
        text_embeddings: `(classes, dim)`, rows of unit length.
        prior_shots: float >= 0. How many images a text counts for.
        shrinkage_factor: float > 0. Classes are told apart best by more shrinkage than is
            likeliest, of the covariance and, where they have images, of the regression.

    Returns:
        Map, prototypes, and rows to be trained on as images: the texts moved to the images' mean,
        or the place of the text of a class without images.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.recipes.closed_form_start import support_start
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
    seen = counts[:, 0] > 0
    sums = np.zeros((num_classes, dim))
    np.add.at(sums, labels, images)
    centre = images.mean(axis=0)
    image_deviations = (sums - counts * centre) / np.maximum(counts, 1)
    text_deviations = texts - (counts * texts).sum(axis=0) / len(images)
    places = _text_places(image_deviations, text_deviations, counts, shrinkage_factor)
    weight = counts / (counts + prior_shots) if prior_shots else seen[:, None].astype("float64")
    means = centre + weight * image_deviations + (1 - weight) * places

    residuals = images - means[labels]
    residuals -= residuals.mean(axis=0)  # What all images share tells no class from another.
    values, vectors = np.linalg.eigh(residuals.T @ residuals / len(images))
    values = np.maximum(values, 0.0)
    variance = values.mean()
    if variance > 1e-12:
        judged = rows_of_all_classes(labels, _MAX_JUDGED_ROWS)
        likeliest = _likeliest_shrinkage(residuals, judged, values, vectors)
        shrinkage = min(shrinkage_factor * likeliest, dim / (dim + len(images) - 1))
        shrunk = (1 - shrinkage) * values / variance + shrinkage
        mean = vectors.T @ centre / max(float(np.linalg.norm(centre)), 1e-12)
        gain = (mean**2 / shrunk).sum() ** 0.5
        if gain > _MAX_MEAN_GAIN:
            lack = _MAX_MEAN_GAIN**-2 - gain**-2
            shrunk, turn = np.linalg.eigh(np.diag(shrunk) + lack * np.outer(mean, mean))
            vectors = vectors @ turn
        transform = (vectors * shrunk**-0.5) @ vectors.T
    else:  # Every image lies on its mean: there is no covariance to undo.
        transform = np.eye(dim)
    return SupportStart(
        transform.astype("float32"),
        unit_rows(means @ transform),
        unit_rows(centre + np.where(seen[:, None], text_deviations, places)),
    )


def rows_of_all_classes(labels: npt.NDArray[np.integer], most: int) -> npt.NDArray[np.int64]:
    """Returns rows that stand for all: evenly taken over the classes, in whatever order they come.

    Args:
        labels: `(rows,)` class ids.
        most: int >= 1. How many there may be.

    Example:
        >>> import numpy as np
        >>> rows_of_all_classes(np.array([0, 1, 0, 1]), most=2)
        array([0, 1])
    """
    return np.argsort(labels, kind="stable")[:: math.ceil(len(labels) / most)]


def _text_places(
    image_deviations: npt.NDArray[np.float64],
    text_deviations: npt.NDArray[np.float64],
    counts: npt.NDArray[np.integer],
    shrinkage_factor: float,
) -> npt.NDArray[np.float64]:
    """Returns where each class's images are, as told by its text and the other classes.

    A scaled text is what little data can tell. What it leaves is regressed on the texts, with the
    ridge that tells classes best that are left out.

    Args:
        image_deviations: `(classes, dim)`, mean images less the mean of all; of a class without
            images, anything.
        text_deviations: `(classes, dim)`, texts less their mean over the images.
        counts: `(classes, 1)`, images a class.
        shrinkage_factor: float > 0. What the best ridge is multiplied by for classes with images.
    """
    squares = (counts * text_deviations**2).sum()
    products = (counts * text_deviations * image_deviations).sum()
    places = max(0.0, products / max(squares, 1e-12)) * text_deviations
    values, vectors = np.linalg.eigh((counts * text_deviations).T @ text_deviations)
    texts = text_deviations @ vectors
    left = np.where(counts, image_deviations - places, 0.0)
    moments = (counts * texts).T @ left
    seen = np.flatnonzero(counts)
    judged = seen[:: math.ceil(len(seen) / _MAX_JUDGED_CLASSES)]

    def told_by_others(rows: Any, ridge: float) -> tuple[Any, Any]:
        """Returns what the regression says without the class itself, and the class's part in it."""
        inverse = 1 / (np.maximum(values, 0.0) + ridge)
        told = texts[rows] @ (inverse[:, None] * moments)
        leverage = counts[rows] * (texts[rows] ** 2 @ inverse)[:, None]
        return (told - leverage * left[rows]) / (1 - leverage), leverage

    def loss(ridge: float) -> float:
        told, leverage = told_by_others(judged, ridge)
        # A class has a part in the means that all deviate from, too.
        own = counts[judged] / counts.sum() / (1 - leverage)
        errors = (left[judged] - told) / np.maximum(1 - own, 1e-6)
        return float((counts[judged] * errors**2).sum())

    ridges = _RIDGES * max(squares, 1e-12) / len(seen)
    losses = np.array([loss(ridge) for ridge in ridges])
    # Where texts tell nothing, all are as good but for rounding: then the largest.
    ridge = ridges[losses <= 1.001 * losses.min()].max()
    unseen = np.flatnonzero(counts == 0)
    places[seen] += told_by_others(seen, shrinkage_factor * ridge)[0]
    places[unseen] += told_by_others(unseen, ridge)[0]
    # One class tells nothing of the others, which would all lie in one place.
    trust = len(seen) / (len(seen) + _TELLING_CLASSES)
    places[unseen] = trust * places[unseen] + (1 - trust) * text_deviations[unseen]
    return places


def _likeliest_shrinkage(
    residuals: npt.NDArray[np.float64],
    judged: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    vectors: npt.NDArray[np.float64],
) -> float:
    """Returns the shrinkage by which each row is likeliest, given the others.

    Args:
        residuals: `(rows, dim)` deviations from the mean.
        judged: the rows to look at.
        values: `(dim,)` eigenvalues of their covariance.
        vectors: `(dim, dim)` its eigenvectors, in the columns.
    """
    rows = len(residuals)
    squares = (residuals[judged] @ vectors) ** 2
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
