"""The closed-form start against its formulas, written out in loops."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from keras_cmm.models.support_start import support_start

DIM = 6
GENERATOR = np.random.default_rng(3)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def naive_ridge(inputs, targets, penalty):
    """Ridge regression with an intercept that is not penalised."""
    x, y = inputs - inputs.mean(0), targets - targets.mean(0)
    weights = np.linalg.inv(x.T @ x + penalty * np.eye(DIM)) @ x.T @ y
    return lambda new: (new - inputs.mean(0)) @ weights + targets.mean(0)


def naive_places(inputs, targets, seen):
    """The place of each class, predicted from the others', with the penalty that does it best."""
    x = inputs[seen] - inputs[seen].mean(0)
    unit_penalty = np.trace(x.T @ x) / min(len(seen), DIM)
    candidates = []
    for penalty in unit_penalty * np.exp(np.arange(-5, 6)):
        places = naive_ridge(inputs[seen], targets[seen], penalty)(inputs)
        for c in seen:
            others = [other for other in seen if other != c]
            places[c] = naive_ridge(inputs[others], targets[others], penalty)(inputs[c])
        candidates.append((((places - targets)[seen] ** 2).sum(), penalty, places))
    return min(candidates, key=lambda candidate: candidate[0])[2]


def naive_start(images, labels, texts, prior_shots, regress=True):
    classes = range(len(texts))
    seen = [c for c in classes if (labels == c).any()]
    centre = np.mean([images[labels == c].mean(0) for c in seen], axis=0)
    text_centre = texts[seen].mean(0)
    numerator = sum((images[labels == c].mean(0) - centre) @ (texts[c] - text_centre) for c in seen)
    slope = max(
        0.0, numerator / sum((texts[c] - text_centre) @ (texts[c] - text_centre) for c in seen)
    )
    places = centre + slope * (texts - text_centre)
    if regress and len(seen) > 2 and len(images) >= 2 * len(seen):
        targets = np.zeros_like(texts)
        for c in seen:
            targets[c] = images[labels == c].mean(0) - places[c]
        places = places + naive_places(texts, targets, seen)
    means = []
    for c in classes:
        prior = places[c]
        rows = images[labels == c]
        means.append((rows.sum(0) + prior_shots * prior) / (len(rows) + prior_shots))
    means = np.array(means)
    residuals = np.array([x - means[y] for x, y in zip(images, labels, strict=True)])
    covariance = sum(np.outer(r, r) for r in residuals) / len(images)
    _, intensity = ledoit_wolf(residuals, assume_centered=True)
    shrinkage = 0.5 * (intensity + DIM / (DIM + len(images) - 1))
    target = np.trace(covariance) / DIM
    shrunk = (1 - shrinkage) * covariance + shrinkage * target * np.eye(DIM)
    return means, shrunk / target


@pytest.mark.parametrize("regress", [True, False])
@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (4, 4, 4, 4), (5, 0, 1, 2), (2, 3, 0, 0)])
@pytest.mark.parametrize("prior_shots", [0.5, 4.0])
def test_the_formulas(counts, prior_shots, regress):
    labels = np.repeat(np.arange(4), counts)
    texts = unit(GENERATOR.normal(size=(4, DIM)))
    images = unit(texts[labels] + 0.7 + 0.4 * GENERATOR.normal(size=(len(labels), DIM)))
    start = support_start(images, labels, texts, prior_shots, regress)
    means, shrunk = naive_start(images, labels, texts, prior_shots, regress)
    transform = start.transform.astype("float64")
    np.testing.assert_allclose(transform @ shrunk @ transform, np.eye(DIM), atol=1e-5)
    np.testing.assert_allclose(transform, transform.T, atol=1e-6)
    np.testing.assert_allclose(start.prototypes, unit(means @ transform), atol=1e-5)
    seen = np.flatnonzero(counts)
    centre = np.mean([images[labels == c].mean(0) for c in seen], axis=0)
    np.testing.assert_allclose(
        start.text_rows, unit(texts + centre - texts[seen].mean(0)), atol=1e-6
    )


def test_regression_finds_where_the_texts_of_unseen_classes_lie():
    """Images that are a rotation of the texts: a scale cannot say that, the other classes can."""
    rotation = np.linalg.qr(GENERATOR.normal(size=(DIM, DIM)))[0]
    texts = unit(GENERATOR.normal(size=(40, DIM)))
    labels = np.repeat(np.arange(30), 2)
    images = (texts @ rotation)[labels] + 0.01 * GENERATOR.normal(size=(60, DIM))
    cosines = {}
    for regress in (True, False):
        start = support_start(images, labels, texts, text_regression=regress)
        expected = unit(texts @ rotation @ start.transform)
        cosines[regress] = (start.prototypes * expected).sum(axis=1)[30:].min()
    assert cosines[True] > 0.9 > cosines[False]


@pytest.mark.parametrize("num_seen", [1, 2])
def test_few_seen_classes(num_seen):
    texts = np.eye(5, DIM)
    labels = np.repeat(np.arange(num_seen), 3)
    images = unit(texts[labels] + 0.1 * GENERATOR.normal(size=(len(labels), DIM)))
    for part in support_start(images, labels, texts):
        assert np.isfinite(part).all()


def test_images_at_their_means_leave_the_space_as_it_is():
    eye = np.eye(3, DIM)
    start = support_start(eye, np.arange(3), eye, prior_shots=0.0)
    np.testing.assert_array_equal(start.transform, np.eye(DIM, dtype="float32"))
    np.testing.assert_allclose(start.prototypes, eye, atol=1e-7)
