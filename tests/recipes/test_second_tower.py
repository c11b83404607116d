"""How much a second encoder counts, against its formulas written out in loops."""

import importlib

import numpy as np
import pytest
from keras import ops
from scipy.optimize import nnls

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.recipes import second_tower

CLASSES, DIM, ALSO = 6, 10, 7


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_support(shots=4, seed=0, told_by_also=1.0):
    """Images of which CLIP sees a part, and a second encoder another part of what tells classes."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), shots))
    centres, others = rng.normal(size=(CLASSES, DIM)), rng.normal(size=(CLASSES, ALSO))
    images = unit(1.0 + 0.6 * centres[labels] + rng.normal(size=(len(labels), DIM)))
    also = unit(1.0 + told_by_also * others[labels] + 0.7 * rng.normal(size=(len(labels), ALSO)))
    prototypes = unit(centres + 0.3 * rng.normal(size=(CLASSES, DIM)))
    return images.astype("float32"), also.astype("float32"), labels, prototypes


def projected(rows):
    mean = unit(rows.mean(axis=0)[None])[0]
    return rows - np.outer(rows @ mean, mean)


def naive_ridge(rows, targets, ridge):
    """Ridge regression with an intercept that is not shrunk; returns a function."""
    mean, target_mean = rows.mean(axis=0), targets.mean(axis=0)
    x, y = rows - mean, targets - target_mean
    kernel = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    return kernel, lambda row: target_mean + (row - mean) @ kernel


def naive_tower(images, also, labels, prototypes):
    targets = prototypes[labels] - prototypes[labels].mean(axis=0)
    found = []
    for rows in (images.astype("float64"), also.astype("float64")):
        rows = projected(rows)
        squares = np.linalg.svd(rows, compute_uv=False) ** 2
        mean_square = squares[squares > 1e-10 * squares.max()].mean()
        fits = []
        for ridge in np.geomspace(1e-3, 1e2, 13) * mean_square:
            others = [np.arange(len(rows)) != row for row in range(len(rows))]
            told = np.array(
                [
                    naive_ridge(rows[kept], targets[kept], ridge)[1](rows[row])
                    for row, kept in enumerate(others)
                ]
            )
            fits.append((((targets - told) ** 2).sum(), ridge, told))
        _, ridge, told = min(fits, key=lambda fit: fit[0])
        found.append((told, naive_ridge(rows, targets, ridge)[0]))
    (of_clip, _), (of_also, kernel) = found
    clip_part, also_part = nnls(
        np.stack([of_clip.ravel(), of_also.ravel()], axis=1), targets.ravel()
    )[0]
    weight = also_part / max(clip_part, also_part / 4) if also_part else 0.0
    return weight * kernel, weight


@pytest.mark.parametrize("shots", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_the_stacked_ridge_regression(shots, seed):
    support = make_support(shots, seed)
    found = second_tower(*support)
    kernel, weight = naive_tower(*support)
    assert found.weight == pytest.approx(weight, abs=1e-5)
    np.testing.assert_allclose(found.kernel, kernel, atol=1e-4)
    assert found.kernel.dtype == np.float32


def test_it_counts_where_it_tells_more_than_clip():
    weak, strong = (second_tower(*make_support(8, told_by_also=part)) for part in (0.3, 2.0))
    assert 0 < weak.weight < strong.weight <= 4
    # The mean embedding adds nothing, so no class is favoured.
    _, also, _, _ = make_support(8, told_by_also=2.0)
    assert np.abs(also.mean(axis=0) @ strong.kernel).max() < 1e-5


@pytest.mark.parametrize("shots", [1, 2, 8])
@pytest.mark.parametrize("useless", ["noise", "rows of other images", "one row"])
def test_a_useless_encoder_counts_for_nothing_or_next_to_it(shots, useless):
    weights = []
    for seed in range(20):
        images, also, labels, prototypes = make_support(shots, seed)
        rng = np.random.default_rng(100 + seed)
        also = {
            "noise": unit(rng.normal(size=(len(labels), 30))),
            "rows of other images": rng.permutation(also),
            "one row": np.tile(also[:1], (len(labels), 1)),
        }[useless]
        found = second_tower(images, also, labels, prototypes)
        weights.append(found.weight)
        if found.weight == 0:
            assert not found.kernel.any()
    assert np.median(weights) == 0
    useful = [second_tower(*make_support(8, seed)).weight for seed in range(20)]
    assert np.median(useful) > 0.3


def test_of_very_many_images_some_are_enough(monkeypatch):
    module = importlib.import_module("keras_cmm.recipes.second_tower")
    support = make_support(60, told_by_also=2.0)
    whole = second_tower(*support)
    monkeypatch.setattr(module, "_MAX_ROWS", 120)
    monkeypatch.setattr(module, "_MAX_JUDGED_ROWS", 60)
    part = second_tower(*support)
    assert part.weight != whole.weight
    assert part.weight == pytest.approx(whole.weight, rel=0.3)
    cosine = (part.kernel * whole.kernel).sum()
    cosine /= np.linalg.norm(part.kernel) * np.linalg.norm(whole.kernel)
    assert cosine > 0.9


@pytest.mark.parametrize("labels", [[0], [0, 1], [2, 2, 2, 2]])
def test_too_few_images_or_one_class_tell_nothing(labels):
    rng = np.random.default_rng(0)
    images, also = unit(rng.normal(size=(len(labels), 5))), unit(rng.normal(size=(len(labels), 4)))
    found = second_tower(images, also, np.array(labels), np.eye(3, 5))
    assert found.weight == 0
    assert found.kernel.shape == (4, 5)
    assert not found.kernel.any()


def make_head(prototypes):
    return CMMClassifier.from_text_embeddings(prototypes, logit_scale=30.0, also_dim=ALSO)


@pytest.mark.backend_neutral
def test_the_recipe_starts_the_map_at_it():
    images, also, labels, texts = make_support()
    texts = texts.astype("float32")
    head = make_head(texts)
    recipe = AutoRecipe(text_share=0.0)
    rows = recipe.prepare(head, np.concatenate([3 * images, 0.5 * also], axis=1), labels)
    plain = CMMClassifier.from_text_embeddings(texts, logit_scale=30.0)
    recipe.prepare(plain, images, labels)
    start = recipe.closed_form(images, labels, plain.text_embeddings)
    second = second_tower(images, also, labels, start.prototypes)
    assert second.weight > 0
    mapped = images @ start.transform
    expected = mapped + np.linalg.norm(mapped, axis=1).mean() * also @ second.kernel
    joined = np.concatenate([images, also], axis=1)
    found = ops.convert_to_numpy(head.mapping(joined))
    np.testing.assert_allclose(found, unit(expected), atol=1e-5)
    # What is trained on: both parts, and each text beside the mean of the second encoder.
    found = np.asarray(rows.embeddings)
    np.testing.assert_allclose(found[: len(labels)], joined, atol=1e-6)
    mean = unit(also.mean(axis=0)[None])
    np.testing.assert_allclose(found[len(labels) :, DIM:], np.tile(mean, (CLASSES, 1)), atol=1e-6)


@pytest.mark.backend_neutral
def test_with_a_useless_encoder_training_gives_what_it_gives_without():
    images, _, labels, texts = make_support(2, seed=3)
    texts = texts.astype("float32")
    noise = unit(np.random.default_rng(9).normal(size=(len(labels), ALSO))).astype("float32")
    head = make_head(texts)
    plain = CMMClassifier.from_text_embeddings(texts, logit_scale=30.0)
    joined = np.concatenate([images, noise], axis=1)
    recipe = AutoRecipe(min_steps=20)
    recipe.fit(head, joined, labels, verbose=0, calibrate=False)
    recipe.fit(plain, images, labels, verbose=0, calibrate=False)
    assert float(head.mapping.also_weight) == 0
    np.testing.assert_allclose(
        head.predict(joined, verbose=0), plain.predict(images, verbose=0), atol=2e-3
    )


@pytest.mark.backend_neutral
def test_a_useful_encoder_makes_the_classifier_better():
    images, also, labels, texts = make_support(30, seed=4, told_by_also=2.0)
    texts = texts.astype("float32")
    order = np.argsort(labels, kind="stable").reshape(CLASSES, 30)
    support, test = order[:, :3].ravel(), order[:, 3:].ravel()
    joined = np.concatenate([images, also], axis=1)
    hits = {}
    for name, rows, also_dim in (("one", images, 0), ("two", joined, ALSO)):
        head = CMMClassifier.from_text_embeddings(texts, logit_scale=30.0, also_dim=also_dim)
        AutoRecipe().fit(head, rows[support], labels[support], verbose=0, calibrate=False)
        hits[name] = (head.predict(rows[test], verbose=0).argmax(1) == labels[test]).mean()
    assert hits["two"] > hits["one"] + 0.05
