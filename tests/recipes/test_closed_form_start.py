"""The closed-form start against its formulas, written out in loops."""

import numpy as np
import pytest

from keras_cmm.recipes import closed_form_start
from keras_cmm.utils import lazy_rows

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


def naive_regression(texts, images, weights, ridge, intercept):
    """Ridge regression, returns what it says of a text; an intercept is not shrunk."""
    text_mean = np.average(texts, axis=0, weights=weights) if intercept else 0.0
    image_mean = np.average(images, axis=0, weights=weights) if intercept else 0.0
    x, y, weights = texts - text_mean, images - image_mean, np.diag(weights)
    coefficients = np.linalg.solve(x.T @ weights @ x + ridge * np.eye(DIM), x.T @ weights @ y)
    return lambda text: image_mean + (text - text_mean) @ coefficients


def naive_places(images, labels, texts, factor):
    """Where the texts say that images are: of each class that has some, told by the others."""
    counts = np.bincount(labels, minlength=len(texts))
    seen = np.flatnonzero(counts)
    centre, text_centre = images.mean(0), np.average(texts, axis=0, weights=counts)
    means = np.array([images[labels == c].mean(0) - centre for c in seen])
    known, sizes = texts[seen] - text_centre, counts[seen]
    lengths = sum(n * text @ text for n, text in zip(sizes, known, strict=True))
    products = sum(n * x @ text for n, x, text in zip(sizes, means, known, strict=True))
    prior = np.mean([text @ text for text in texts - text_centre])
    slope = max(0.0, (products + prior) / (lengths + prior))
    left = means - slope * known

    def told_by_others(row, ridge, intercept=False):
        others = np.arange(len(seen)) != row
        return naive_regression(known[others], left[others], sizes[others], ridge, intercept)(
            known[row]
        )

    def error(ridge):
        told = [told_by_others(row, ridge, intercept=True) for row in range(len(seen))]
        return sizes @ ((left - told) ** 2).sum(axis=1)

    ridges = np.geomspace(0.01, 1000.0, 21) * lengths / len(seen)
    errors = np.array([error(ridge) for ridge in ridges])
    ridge = ridges[np.isclose(errors, errors.min(), rtol=1e-6)].max()
    places = centre + slope * (texts - text_centre)
    for c in range(len(texts)):
        if counts[c]:
            places[c] += told_by_others(list(seen).index(c), factor * ridge)
        else:
            told = naive_regression(known, left, sizes, ridge, intercept=False)
            places[c] += told(texts[c] - text_centre)
    return places


def naive_start(images, labels, texts, prior_shots, factor):
    means = []
    for c, place in enumerate(naive_places(images, labels, texts, factor)):
        rows = images[labels == c]
        means.append((rows.sum(0) + prior_shots * place) / (len(rows) + prior_shots))
    means = np.array(means)
    residuals = np.array([x - means[y] for x, y in zip(images, labels, strict=True)])
    residuals = residuals - residuals.mean(0)
    covariance = sum(np.outer(r, r) for r in residuals) / len(images)
    target = np.trace(covariance) / DIM
    candidates = np.geomspace(0.001, 1.0, 46)
    likeliest = max(candidates, key=lambda each: naive_likelihood(residuals, each, target))
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
    start = closed_form_start(images, labels, texts, prior_shots, factor)
    means, shrunk = naive_start(images, labels, texts, prior_shots, factor)
    transform = start.transform.astype("float64")
    np.testing.assert_allclose(transform @ shrunk @ transform, np.eye(DIM), atol=1e-4)
    np.testing.assert_allclose(transform, transform.T, atol=1e-6)
    np.testing.assert_allclose(start.prototypes, unit(means @ transform), atol=1e-5)
    np.testing.assert_allclose(
        start.text_rows, unit(texts + images.mean(0) - texts.mean(0)), atol=1e-6
    )


@pytest.mark.parametrize("block_rows", [3, 8192])
def test_classes_of_different_sizes(monkeypatch, block_rows):
    monkeypatch.setattr(lazy_rows, "BLOCK_ROWS", block_rows)
    labels = np.repeat(np.arange(4), (5, 0, 1, 2))
    texts = unit(GENERATOR.normal(size=(4, DIM)))
    images = unit(texts[labels] + 0.7 + 0.4 * GENERATOR.normal(size=(8, DIM)))
    start = closed_form_start(images, labels, texts, 2.0, shrinkage_factor=3.0)
    means, shrunk = naive_start(images, labels, texts, 2.0, factor=3.0)
    transform = start.transform.astype("float64")
    np.testing.assert_allclose(transform @ shrunk @ transform, np.eye(DIM), atol=1e-4)
    np.testing.assert_allclose(start.prototypes, unit(means @ transform), atol=1e-5)
    text_rows = unit(texts + images.mean(0) - texts[labels].mean(0))
    text_rows[1] = unit(means[1])
    np.testing.assert_allclose(start.text_rows, text_rows, atol=1e-6)


def test_a_class_without_images_is_told_by_the_others():
    """Images lie where a linear map of their texts says, which no scaled text tells."""
    texts = unit(GENERATOR.normal(size=(40, DIM)))
    places = texts @ GENERATOR.normal(size=(DIM, DIM))
    seen = np.repeat(np.arange(39), 3)
    images = places[seen] + 0.05 * GENERATOR.normal(size=(len(seen), DIM))
    told = closed_form_start(images, seen, texts).text_rows[39]
    assert told @ unit(places[39]) > 0.98
    assert told @ unit(texts[39] + images.mean(0) - texts[seen].mean(0)) < 0.9


def test_one_class_with_images_leaves_the_others_apart():
    texts = unit(GENERATOR.normal(size=(5, DIM)))
    images = unit(texts[2] + 0.1 * GENERATOR.normal(size=(4, DIM)))
    start = closed_form_start(images, np.full(4, 2), texts)
    cosines = start.prototypes @ start.prototypes.T
    assert cosines[~np.eye(5, dtype=bool)].max() < 0.999


def test_images_at_their_means_leave_the_space_as_it_is():
    eye = np.eye(3, DIM)
    start = closed_form_start(eye, np.arange(3), eye, prior_shots=0.0)
    np.testing.assert_array_equal(start.transform, np.eye(DIM, dtype="float32"))
    np.testing.assert_allclose(start.prototypes, eye, atol=1e-7)
