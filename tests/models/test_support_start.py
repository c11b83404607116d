"""The closed-form start against its formulas, written out in loops."""

import numpy as np
import pytest

from keras_cmm.models.support_start import support_start

DIM = 6
GENERATOR = np.random.default_rng(3)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def naive_likelihood(residuals, shrinkage, target):
    """Of each row, given mean and covariance of all others."""
    total = 0.0
    for row, residual in enumerate(residuals):
        others = np.delete(residuals, row, axis=0)
        deviations = others - others.mean(0)
        covariance = deviations.T @ deviations / len(others)
        shrunk = (1 - shrinkage) * covariance + shrinkage * target * np.eye(DIM)
        deviation = residual - others.mean(0)
        total -= np.linalg.slogdet(shrunk)[1] + deviation @ np.linalg.solve(shrunk, deviation)
    return total


def naive_start(images, labels, texts, prior_shots, factor):
    classes = range(len(texts))
    centre, text_centre = images.mean(0), texts.mean(0)
    seen = [c for c in classes if (labels == c).any()]
    numerator = sum((images[labels == c].mean(0) - centre) @ (texts[c] - text_centre) for c in seen)
    slope = max(
        0.0, numerator / sum((texts[c] - text_centre) @ (texts[c] - text_centre) for c in seen)
    )
    means = []
    for c in classes:
        prior = centre + slope * (texts[c] - text_centre)
        rows = images[labels == c]
        means.append((rows.sum(0) + prior_shots * prior) / (len(rows) + prior_shots))
    means = np.array(means)
    residuals = np.array([x - means[y] for x, y in zip(images, labels, strict=True)])
    covariance = sum(np.outer(r, r) for r in residuals) / len(images)
    target = np.trace(covariance) / DIM
    # In closed form the residuals have no mean, as they have where classes are of one size.
    centred = residuals - residuals.mean(0)
    candidates = np.geomspace(0.001, 1.0, 46)
    likeliest = max(candidates, key=lambda each: naive_likelihood(centred, each, target))
    shrinkage = min(factor * likeliest, DIM / (DIM + len(images) - 1))
    shrunk = (1 - shrinkage) * covariance + shrinkage * target * np.eye(DIM)
    return means, shrunk / target


@pytest.mark.parametrize(("counts", "factor"), [(1, 1.0), (4, 1.0), (4, 3.0), (12, 2.0)])
@pytest.mark.parametrize("prior_shots", [0.5, 4.0])
def test_the_formulas(counts, factor, prior_shots):
    labels = np.repeat(np.arange(4), counts)
    texts = unit(GENERATOR.normal(size=(4, DIM)))
    spread = 0.4 * np.geomspace(1.0, 0.05, DIM) * GENERATOR.normal(size=(len(labels), DIM))
    images = unit(texts[labels] + 0.7 + spread)
    start = support_start(images, labels, texts, prior_shots, factor)
    means, shrunk = naive_start(images, labels, texts, prior_shots, factor)
    transform = start.transform.astype("float64")
    np.testing.assert_allclose(transform @ shrunk @ transform, np.eye(DIM), atol=1e-4)
    np.testing.assert_allclose(transform, transform.T, atol=1e-6)
    np.testing.assert_allclose(start.prototypes, unit(means @ transform), atol=1e-5)
    np.testing.assert_allclose(
        start.text_rows, unit(texts + images.mean(0) - texts.mean(0)), atol=1e-6
    )


def test_classes_of_different_sizes():
    labels = np.repeat(np.arange(4), (5, 0, 1, 2))
    texts = unit(GENERATOR.normal(size=(4, DIM)))
    images = unit(texts[labels] + 0.7 + 0.4 * GENERATOR.normal(size=(8, DIM)))
    # So large a factor leaves the bound, which knows nothing of likelihoods.
    start = support_start(images, labels, texts, 2.0, shrinkage_factor=1e9)
    means, shrunk = naive_start(images, labels, texts, 2.0, factor=1e9)
    transform = start.transform.astype("float64")
    np.testing.assert_allclose(transform @ shrunk @ transform, np.eye(DIM), atol=1e-4)
    np.testing.assert_allclose(start.prototypes, unit(means @ transform), atol=1e-5)


def test_images_at_their_means_leave_the_space_as_it_is():
    eye = np.eye(3, DIM)
    start = support_start(eye, np.arange(3), eye, prior_shots=0.0)
    np.testing.assert_array_equal(start.transform, np.eye(DIM, dtype="float32"))
    np.testing.assert_allclose(start.prototypes, eye, atol=1e-7)
