"""What is counted over the folds, and which labels look wrong."""

import numpy as np

from keras_cmm_runtime.metrics import wilson_interval
from keras_cmm_studio.cross_validation import CrossValidation, cross_validate

LABELS = np.array([0] * 7 + [1] * 2 + [2] + [3] * 4)


def nearest_mean(train, labels, test):
    """Probabilities of four classes, by the distance to the mean of their images."""
    means = np.stack([train[labels == label].mean(axis=0) for label in range(4)])
    scores = np.exp(-10 * np.linalg.norm(test[:, None] - means, axis=2))
    return scores / scores.sum(axis=1, keepdims=True)


def test_a_wrong_label_is_counted_and_suspicious():
    rng = np.random.default_rng(0)
    embeddings = np.eye(4, 8)[LABELS] + 0.05 * rng.normal(size=(len(LABELS), 8))
    labels = LABELS.copy()
    labels[0] = 3
    parts = []
    result = cross_validate(embeddings, labels, 4, nearest_mean, seed=1, progress=parts.append)
    assert parts == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert (result.right, result.tested) == (12, 13)
    assert result.suspicious() == [0]
    report = result.as_dict()
    assert report["not_tested"] == 1
    assert (report["low"], report["high"]) == wilson_interval(12, 13)
    assert report["confusions"] == [{"label": 3, "prediction": 0, "count": 1}]
    assert report["classes"][2] == {"right": 0, "tested": 0}
    scores = result.scores()
    tested = result.probabilities[LABELS != 2]
    assert scores.best.tolist() == sorted(tested.max(axis=1).astype("float32").tolist())
    # The wrong label is the least probable.
    assert scores.own[0] == np.float32(result.probabilities[0, 3])


def test_one_image_a_class_gives_no_figure():
    result = cross_validate(np.eye(4), np.arange(4), 4, nearest_mean, seed=1)
    assert (result.tested, result.folds) == (0, 0)
    report = result.as_dict()
    assert report["accuracy"] is report["low"] is None
    assert result.scores() is None
    assert result.suspicious() == []


def test_an_improbable_label_comes_first():
    probabilities = np.array([[0.6, 0.4], [0.7, 0.3], [0.9, 0.1], [0.8, 0.2]])
    assert CrossValidation(np.array([1, 1, 1, 0]), probabilities, 2).suspicious() == [2, 1, 0]
