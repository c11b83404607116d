"""Which images are chosen, and what each strategy is said to do, written out."""

import numpy as np
import pytest

from keras_cmm import InputError
from keras_cmm.labelling import STRATEGIES, suggest

CLASSES = 4


@pytest.fixture
def pool():
    """Forty images of four classes in groups, ten a class, and how sure a classifier is of them."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), 10)
    embeddings = np.eye(CLASSES, 8)[labels] + 0.1 * rng.normal(size=(40, 8))
    logits = 4 * np.eye(CLASSES)[labels] + rng.normal(size=(40, CLASSES))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return embeddings, probabilities, labels


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("count", [1, 7, 40, 50])
def test_different_images_as_many_as_wanted(pool, strategy, count):
    embeddings, probabilities, labels = pool
    known = {"labelled": embeddings[:3] + 0.01, "labels": labels[:3]}
    for given in ({}, known):
        chosen = suggest(embeddings, probabilities, count, strategy=strategy, **given)
        assert len(chosen) == len(set(chosen.tolist())) == min(count, 40)
        assert set(chosen.tolist()) <= set(range(40))
        again = suggest(embeddings, probabilities, count, strategy=strategy, **given)
        assert chosen.tolist() == again.tolist()


@pytest.mark.parametrize(
    "strategy", ["cover", "balanced_cover", "k_centre", "typiclust", "class_guided"]
)
def test_one_image_of_each_group(pool, strategy):
    embeddings, probabilities, labels = pool
    chosen = suggest(embeddings, probabilities, CLASSES, strategy=strategy)
    assert sorted(labels[chosen].tolist()) == list(range(CLASSES))


@pytest.mark.parametrize("strategy", ["cover", "balanced_cover", "typiclust"])
def test_groups_without_a_label_come_first(pool, strategy):
    embeddings, probabilities, labels = pool
    known = [0, 10]
    rest = np.setdiff1d(np.arange(40), known)
    chosen = suggest(
        embeddings[rest],
        probabilities[rest],
        2,
        labelled=embeddings[known],
        labels=labels[known],
        strategy=strategy,
    )
    assert sorted(labels[rest[chosen]].tolist()) == [2, 3]


def test_the_least_sure_come_first(pool):
    embeddings, probabilities, _ = pool
    best = np.sort(probabilities, axis=1)
    chosen = suggest(embeddings, probabilities, 3, strategy="margin").tolist()
    assert chosen == np.argsort(best[:, -1] - best[:, -2])[:3].tolist()
    entropies = -(probabilities * np.log(probabilities)).sum(axis=1)
    chosen = suggest(embeddings, probabilities, 3, strategy="entropy").tolist()
    assert chosen == np.argsort(-entropies)[:3].tolist()


def test_the_farthest_come_next(pool):
    embeddings, probabilities, labels = pool
    rows = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = []
    centres = [rows[0]]
    for _ in range(5):
        distances = [min(np.linalg.norm(row - centre) for centre in centres) for row in rows[1:]]
        expected.append(int(np.argmax(distances)))
        centres.append(rows[1 + expected[-1]])
    chosen = suggest(
        embeddings[1:],
        probabilities[1:],
        5,
        labelled=embeddings[:1],
        labels=labels[:1],
        strategy="k_centre",
    )
    assert chosen.tolist() == expected


@pytest.mark.parametrize("is_trained", [False, True])
def test_the_cover_is_the_largest_that_one_more_image_gives(pool, is_trained):
    """The images that raise the sum of weighted similarities most, in loops."""
    embeddings, _, _ = pool
    rows = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype("float32")
    sure = np.linspace(0.55, 0.95, 39)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    known = [rows[39]] if is_trained else []
    weights = 1 - (2 * sure - 1) if is_trained else np.ones(39)
    expected = []
    for _ in range(4):
        covers = []
        for row in range(39):
            some = [*known, *(rows[each] for each in [*expected, row])]
            covers.append(
                sum(
                    weight * max(each @ one for each in some)
                    for weight, one in zip(weights, rows[:39], strict=True)
                )
            )
        expected.append(int(np.argmax(covers)))
    given = {"labelled": rows[39:], "labels": np.array([0])} if is_trained else {}
    chosen = suggest(embeddings[:39], probabilities, 4, strategy="cover", **given)
    assert chosen.tolist() == expected


def test_a_balanced_cover_has_as_many_of_each_predicted_class(pool):
    embeddings, probabilities, _ = pool
    predicted = probabilities.argmax(axis=1)
    known = np.flatnonzero(predicted == 0)[:3]
    rest = np.setdiff1d(np.arange(40), known)
    chosen = suggest(
        embeddings[rest],
        probabilities[rest],
        9,
        labelled=embeddings[known],
        labels=predicted[known],
        strategy="balanced_cover",
    )
    assert np.bincount(predicted[rest[chosen]]).tolist() == [0, 3, 3, 3]


def test_typical_images_are_in_the_densest_place():
    rng = np.random.default_rng(1)
    near, far = (np.eye(2, 6)[number] + 0.2 * rng.normal(size=(9, 6)) for number in (0, 1))
    rows = np.concatenate([near, far])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    chosen = suggest(rows, np.full((18, 2), 0.5), 2, strategy="typiclust")
    for group in (range(9), range(9, 18)):
        density = [sum(rows[one] @ rows[other] for other in group) for one in group]
        assert group[int(np.argmax(density))] in chosen


def test_copies_of_one_image_are_chosen_last():
    rows = np.concatenate([np.repeat(np.eye(1, 4), 10, axis=0), np.eye(4)[1:]])
    probabilities = np.tile([[0.6, 0.4]], (13, 1))
    for strategy in ("cover", "k_centre"):
        chosen = suggest(rows, probabilities, 4, strategy=strategy).tolist()
        assert len({tuple(rows[row]) for row in chosen}) == 4, strategy
    for strategy in STRATEGIES:  # no warning of too few clusters
        assert len(suggest(rows, probabilities, 13, strategy=strategy)) == 13


def test_no_image_gives_none():
    assert suggest(np.empty((0, 3)), np.empty((0, 2))).tolist() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": 0}, "`count` must be an int >= 1. Received: count=0"),
        ({"strategy": "best"}, "must be one of cover, balanced_cover"),
        ({"seed": -1}, "`seed`"),
        ({"embeddings": np.eye(2)}, "for the same images"),
        ({"probabilities": np.ones((3, 1))}, "two classes or more"),
        ({"probabilities": np.full((3, 2), np.nan)}, "finite"),
        ({"labelled": np.eye(3)}, "given together"),
        ({"labelled": np.eye(2), "labels": [0, 1]}, "must have shape"),
        ({"labelled": np.eye(3), "labels": [0, 1, 2]}, "class ids from 0 to 1"),
    ],
)
def test_mistakes(changes, said):
    given = {"embeddings": np.eye(3), "probabilities": np.full((3, 2), 0.5), "count": 1} | changes
    with pytest.raises(InputError, match=said):
        suggest(**given)
