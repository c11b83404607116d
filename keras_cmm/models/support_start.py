"""Where a CMM head starts, in closed form from its support set."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm._unit_rows import unit_rows

Array = npt.NDArray[np.floating[Any]]


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
) -> SupportStart:
    """Estimates a linear discriminant from a support set, with the texts as prior of the means.

    The mean of a class is what `prior_shots` images at its text's place and its own images give;
    a class without images is at its text's place. That place is the mean of all images, plus the
    text's deviation from the mean text, scaled by least squares to the images' deviations. So the
    gap between the modalities drops out, and one image a class is enough.

    The map is the inverse square root of the covariance of the images around these means. What few
    images cannot tell is shrunk towards the identity, by `dim / (dim + images - 1)` as Wang et al.
    do.

    Args:
        embeddings: `(images, dim)`, rows of unit length.
        labels: `(images,)` class ids. A class may have no image.
        text_embeddings: `(classes, dim)`, rows of unit length.
        prior_shots: float >= 0. How many images a text counts for.

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
        Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024,
        arXiv:2402.04087.
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
    covariance = residuals.T @ residuals / len(images)
    variance = np.trace(covariance) / dim
    if variance > 1e-12:
        shrinkage = dim / (dim + len(images) - 1)
        values, vectors = np.linalg.eigh(
            (1 - shrinkage) * covariance + shrinkage * variance * np.eye(dim)
        )
        transform = (vectors * (values / variance) ** -0.5) @ vectors.T
    else:  # Every image lies on its mean: there is no covariance to undo.
        transform = np.eye(dim)
    return SupportStart(
        transform.astype("float32"),
        unit_rows(means @ transform),
        unit_rows(texts + centre - text_centre),
    )
