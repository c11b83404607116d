"""What is found in embeddings with mistakes that were put there."""

import numpy as np
import pytest
from make_embeddings import make_embeddings

from keras_cmm import InputError
from keras_cmm.labelling import (
    alike_classes,
    audit,
    exact_duplicates,
    near_duplicates,
    odd_images,
    out_of_fold,
    silent_names,
    stratified_folds,
    wrong_labels,
)
from keras_cmm.labelling.nearest_rows import nearest_rows

LABELS = np.array([0] * 7 + [1] * 2 + [2] + [3] * 4)


def nearest_mean(train, labels, test):
    """Probabilities of four classes, by the distance to the mean of their images."""
    means = np.stack([train[labels == label].mean(axis=0) for label in range(4)])
    scores = np.exp(-10 * np.linalg.norm(test[:, None] - means, axis=2))
    return scores / scores.sum(axis=1, keepdims=True)


def test_each_image_is_tested_once_but_the_only_one_of_its_class():
    folds = list(stratified_folds(LABELS, seed=3))
    assert len(folds) == 5
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested.tolist()) == np.flatnonzero(LABELS != 2).tolist()
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(len(LABELS)))
        assert set(LABELS[train]) == {0, 1, 2, 3}


def test_folds_depend_on_the_seed_alone():
    def tests(seed):
        return [test.tolist() for _, test in stratified_folds(LABELS, seed)]

    assert tests(1) == tests(1) != tests(2)


def test_probabilities_are_of_classifiers_without_the_image():
    rows = np.eye(4, 8)[LABELS]
    parts = []
    probabilities = out_of_fold(
        rows, LABELS, 4, nearest_mean, progress=lambda *part: parts.append(part)
    )
    assert parts == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert np.isnan(probabilities[LABELS == 2]).all()
    tested = LABELS != 2
    assert (probabilities[tested].argmax(axis=1) == LABELS[tested]).all()


def test_an_improbable_label_comes_first():
    probabilities = np.array([[0.6, 0.4], [0.7, 0.3], [0.9, 0.1], [0.8, 0.2]])
    found = wrong_labels(np.array([1, 1, 1, 0]), probabilities)
    assert [(each.row, each.label, each.other_label) for each in found] == [
        *((2, 1, 0), (1, 1, 0), (0, 1, 0))
    ]
    assert [each.score for each in found] == pytest.approx([0.9, 0.7, 0.6])


def test_a_label_that_is_more_probable_than_by_guessing_is_not_suspicious():
    probabilities = np.array([[0.5, 0.4, 0.1], [0.6, 0.3, 0.1]])
    assert [each.row for each in wrong_labels(np.array([1, 1]), probabilities)] == [1]


def test_images_that_were_not_tested_have_no_wrong_label():
    probabilities = np.array([[0.9, 0.1], [np.nan, np.nan], [0.9, 0.1], [0.95, 0.05]])
    found = wrong_labels(np.array([0, 1, 0, 1]), probabilities)
    assert [each.row for each in found] == [3]
    assert wrong_labels(np.array([1]), probabilities[1:2]) == []


def test_changed_labels_are_found_and_few_others():
    data = make_embeddings()
    labels = np.asarray(data.train_labels, "int64").copy()
    changed = np.arange(0, len(labels), 20)
    labels[changed] = (labels[changed] + 7) % data.num_classes
    found = audit(data.train_embeddings, labels, data.text_embeddings)
    rows = [each.row for each in found if each.kind == "wrong_label"]
    hits = len(set(rows) & set(changed.tolist()))
    assert hits >= 0.6 * len(changed)
    assert len(rows) - hits <= 0.15 * (len(labels) - len(changed))


def test_exact_copies_across_classes_and_splits_come_first():
    digests = ["a", "b", "a", "b", None, None, "c", "c"]
    labels = np.array([0, 0, 0, 1, 0, 0, 1, 1])
    splits = ["train"] * 7 + ["test"]
    found = exact_duplicates(digests, labels, splits)
    assert [(each.row, each.other, each.reason) for each in found] == [
        (3, 1, "the same file, in two classes"),
        (7, 6, "the same file, in train and test"),
        (2, 0, "the same file"),
    ]


def test_near_copies_are_those_of_a_full_comparison(monkeypatch):
    monkeypatch.setattr("keras_cmm.labelling.nearest_rows._ROWS", 7)
    monkeypatch.setattr("keras_cmm.labelling.nearest_rows._COLUMNS", 11)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 6))
    rows[30] = rows[3] + 0.02 * rng.normal(size=6)
    rows[41] = rows[30] + 0.02 * rng.normal(size=6)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    expected = {
        (row, other): cosines[row, other]
        for row in range(50)
        for other in range(row)
        if cosines[row, other] >= 0.9
    }
    found = near_duplicates(rows, np.zeros(50, int), min_cosine=0.9)
    assert {(each.row, each.other) for each in found} == set(expected)
    assert {(30, 3), (41, 30), (41, 3)} <= set(expected)
    in_order = sorted(expected.values(), reverse=True)
    assert [each.score for each in found] == pytest.approx(in_order)


def test_many_copies_give_few_pairs():
    rows = np.ones((100, 3))
    found = near_duplicates(rows, np.zeros(100, int))
    assert len(found) == sum(min(row, 5) for row in range(100))


@pytest.mark.parametrize("earlier", [False, True])
def test_nearest_rows_are_those_of_a_full_comparison(monkeypatch, earlier):
    monkeypatch.setattr("keras_cmm.labelling.nearest_rows._ROWS", 5)
    monkeypatch.setattr("keras_cmm.labelling.nearest_rows._COLUMNS", 4)
    rows = np.random.default_rng(1).normal(size=(23, 4)).astype("float32")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines, numbers = nearest_rows(rows, 3, earlier)
    for row in range(23):
        others = [each for each in range(row if earlier else 23) if each != row]
        best = sorted(others, key=lambda each, row=row: -rows[row] @ rows[each])[:3]
        assert numbers[row].tolist() == best + [-1] * (3 - len(best))
        np.testing.assert_allclose(cosines[row, : len(best)], rows[best] @ rows[row], atol=1e-6)


def test_an_image_like_no_other_is_odd_unless_the_classifier_is_sure_of_it():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    rows = np.eye(2, 6)[labels] + 0.1 * rng.normal(size=(40, 6))
    rows[5] = np.eye(6)[5]
    probabilities = np.tile([[0.95, 0.05]], (40, 1))
    probabilities[[5, 7, 9]] = [0.5, 0.5]
    assert [each.row for each in odd_images(rows, labels, probabilities)] == [5]
    probabilities[:] = np.linspace(0.6, 0.5, 40)[:, None] * [1, 0]
    probabilities[5] = [1.0, 0.0]
    assert 5 not in [each.row for each in odd_images(rows, labels, probabilities)]
    assert odd_images(rows[:10], labels[:10], probabilities[:10]) == []
    with pytest.raises(InputError, match="of the same images"):
        odd_images(rows, labels[1:], probabilities)


def test_names_that_find_no_images_tell_nothing():
    data = make_embeddings()
    rows, labels = np.asarray(data.train_embeddings), np.asarray(data.train_labels)
    texts = np.array(data.text_embeddings)
    before = {each.label for each in silent_names(rows, labels, texts)}
    # Classes of different families: the texts of one family are alike.
    texts[[0, 7, 14]] = texts[[7, 14, 0]]
    found = silent_names(rows, labels, texts)
    assert {each.label for each in found} - before >= {0, 7, 14} - before
    assert len(found) <= len(before) + 3
    shares = {}
    for label in (0, 7):
        own, others = rows[labels == label] @ texts[label], rows[labels != label] @ texts[label]
        shares[label] = 1 - np.mean([one > other for one in own for other in others])
    for each in found:
        if each.label in shares:
            assert each.score == pytest.approx(shares[each.label], abs=1e-3)


def test_classes_of_the_same_images_cannot_be_told_apart():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 30)
    seen = np.where(labels == 3, 2, labels)
    rows = np.eye(4, 8)[seen] + 0.1 * rng.normal(size=(120, 8))
    found = audit(rows, labels, np.eye(4, 8) + 0.1)
    pairs = [(each.label, each.other_label) for each in found if each.kind == "alike_classes"]
    assert pairs == [(2, 3)]


def test_few_images_alone_are_no_reason():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.1, 0.9]])
    assert alike_classes(np.array([0, 0, 1, 1]), probabilities) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text_embeddings": np.eye(2, 4)}, "by the same model"),
        ({"labels": np.array([0])}, "one for each image"),
        ({"labels": np.array([0, 1, 2])}, "class ids from 0 to 1"),
        ({"splits": ["train"]}, "as many"),
    ],
)
def test_mistakes(changes, said):
    given = {
        "embeddings": np.eye(3),
        "labels": np.array([0, 1, 1]),
        "text_embeddings": np.eye(2, 3),
    } | changes
    with pytest.raises(InputError, match=said):
        audit(**given)
