"""Where a CMM head starts, in closed form from its support set."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
    prior_shots: float = 4.0,
    text_regression: bool = True,
) -> SupportStart:
    """Estimates a linear discriminant from a support set, with the texts as prior of the means.

    The mean of a class is what `prior_shots` images at its text's place and its own images give;
    a class without images is at its text's place. That place is the mean of all classes, plus the
    text's deviation from the mean text, scaled by least squares to the images' deviations. So the
    gap between the modalities drops out, and one image a class is enough. With three classes and
    two images a class or more, ridge regression from texts to class means adds what a scale cannot
    say: its penalty is the best at predicting each class from the others, and a class's place is
    that prediction.

    The map is the inverse square root of the covariance of the images around these means. What few
    images cannot tell is shrunk towards the identity, halfway between the intensity of Ledoit and
    Wolf and `dim / (dim + images - 1)`, that of Wang et al.

    Args:
        embeddings: `(images, dim)`, rows of unit length.
        labels: `(images,)` class ids. A class may have no image.
        text_embeddings: `(classes, dim)`, rows of unit length.
        prior_shots: float >= 0. How many images a text counts for.
        text_regression: bool. Whether the ridge regression is used.

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
        - Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
          2004.
        - Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024,
          arXiv:2402.04087.
    """
    # Keras has no use for scikit-learn, which takes a second to import.
    from sklearn.covariance import ledoit_wolf_shrinkage

    images = np.asarray(embeddings, dtype="float64")
    texts = np.asarray(text_embeddings, dtype="float64")
    num_classes, dim = texts.shape
    counts = np.bincount(labels, minlength=num_classes)[:, None]
    seen = counts[:, 0] > 0
    sums = np.zeros((num_classes, dim))
    np.add.at(sums, labels, images)
    image_means = sums / np.maximum(counts, 1)
    centre, text_centre = image_means[seen].mean(axis=0), texts[seen].mean(axis=0)
    deviations, text_deviations = image_means - centre, texts - text_centre

    slope = max(
        0.0,
        (deviations[seen] * text_deviations[seen]).sum()
        / max((text_deviations[seen] ** 2).sum(), 1e-12),
    )
    places = slope * text_deviations
    if text_regression and len(images) >= 2 * seen.sum() >= 6:
        places += _ridge_predictions(text_deviations, deviations - places, seen)
    weight = counts / (counts + prior_shots) if prior_shots else seen[:, None].astype("float64")
    means = centre + weight * deviations + (1 - weight) * places

    residuals = images - means[labels]
    covariance = residuals.T @ residuals / len(images)
    variance = np.trace(covariance) / dim
    if variance > 1e-12:
        shrinkage = 0.5 * ledoit_wolf_shrinkage(residuals, assume_centered=True)
        shrinkage += 0.5 * dim / (dim + len(images) - 1)
        values, vectors = np.linalg.eigh(
            (1 - shrinkage) * covariance + shrinkage * variance * np.eye(dim)
        )
        transform = (vectors * (values / variance) ** -0.5) @ vectors.T
    else:  # Every image lies on its mean: there is no covariance to undo.
        transform = np.eye(dim)
    return SupportStart(
        transform.astype("float32"),
        _unit_rows(means @ transform),
        _unit_rows(texts + centre - text_centre),
    )


def _ridge_predictions(inputs: Array, targets: Array, seen: npt.NDArray[np.bool_]) -> Array:
    """Predicts the targets of all classes, those of the seen ones each from the others.

    Leaving a class out needs no new fit: its residual is the fit's over one minus its leverage.
    """
    values, vectors = np.linalg.eigh(inputs[seen].T @ inputs[seen])
    values = np.maximum(values, 0.0)
    unit = values.sum() / min(seen.sum(), len(values))
    if unit < 1e-12:  # All texts are the same.
        return np.zeros_like(targets)
    rotated = inputs @ vectors
    products = rotated[seen].T @ targets[seen]
    smallest_error, best = np.inf, np.zeros_like(targets)
    for penalty in unit * np.exp(np.linspace(-5, 5, 11)):
        predictions = rotated @ (products / (values + penalty)[:, None])
        # The mean, subtracted before, takes its part too.
        leverage = (rotated[seen] ** 2 / (values + penalty)).sum(axis=1) + 1 / seen.sum()
        errors = (targets[seen] - predictions[seen]) / (1 - leverage)[:, None]
        error = (errors**2).sum()
        if error < smallest_error:
            predictions[seen] = targets[seen] - errors
            smallest_error, best = error, predictions
    return best


def _unit_rows(rows: Array) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-12)).astype("float32")
