import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from keras_cmm_runtime import metrics


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6), k=st.integers(1, 7))
def test_top_k_against_sorting(seed, classes, k):
    rng = np.random.default_rng(seed)
    logits = rng.integers(0, 4, size=(9, classes)).astype("float32")  # Ties are frequent.
    labels = rng.integers(0, classes, size=9)
    hits = 0
    for row, label in zip(logits, labels, strict=True):
        guesses = sorted(range(classes), key=lambda c: (-row[c], c))[:k]
        hits += label in guesses
    assert metrics.top_k(logits, labels, k) == pytest.approx(100 * hits / 9)
    assert metrics.top_1(logits, labels) == pytest.approx(
        100 * np.mean(logits.argmax(axis=1) == labels)
    )


def test_rows_of_nan_are_misses():
    logits = np.full((2, 3), np.nan)
    assert metrics.top_k(logits, np.array([0, 1]), k=2) == 0.0


def test_confusion_and_per_class_accuracy():
    predictions, labels = np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1])
    matrix = metrics.confusion_matrix(predictions, labels, num_classes=4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(
        metrics.per_class_accuracy(predictions, labels, num_classes=4), [50, 50, np.nan, np.nan]
    )


def test_macro_f1_over_the_classes_that_occur():
    # F1 is 2/3 for class 0, 1/2 for class 1 and 0 for class 2, which is predicted only.
    score = metrics.macro_f1(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]))
    assert score == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6), rows=st.integers(1, 20))
def test_against_scikit_learn(seed, classes, rows):
    rng = np.random.default_rng(seed)
    predictions, labels = rng.integers(0, classes, size=(2, rows))
    ids = np.arange(classes)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(predictions, labels, classes),
        sklearn.metrics.confusion_matrix(labels, predictions, labels=ids),
    )
    recall = sklearn.metrics.recall_score(
        labels, predictions, labels=ids, average=None, zero_division=np.nan
    )
    np.testing.assert_allclose(
        metrics.per_class_accuracy(predictions, labels, classes), 100 * recall
    )
    f1 = sklearn.metrics.f1_score(labels, predictions, average="macro", zero_division=0.0)
    assert metrics.macro_f1(predictions, labels) == pytest.approx(100 * f1)


def naive_calibration_error(probabilities, labels, bins):
    """Guo et al.: bin b holds confidences in (b / bins, (b + 1) / bins]."""
    error = 0.0
    for b in range(bins):
        rows = [
            row
            for row, values in enumerate(probabilities)
            if b / bins < max(values) <= (b + 1) / bins
        ]
        if rows:
            accuracy = np.mean([np.argmax(probabilities[row]) == labels[row] for row in rows])
            confidence = np.mean([max(probabilities[row]) for row in rows])
            error += len(rows) / len(labels) * abs(accuracy - confidence)
    return error


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6), rows=st.integers(1, 60))
def test_calibration_error_against_a_loop_over_15_bins(seed, classes, rows):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.5), size=rows)
    labels = rng.integers(0, classes, size=rows)
    expected = naive_calibration_error(probabilities, labels, bins=15)
    assert metrics.calibration_error(probabilities, labels) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("edge", range(8, 15))
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(edge, dtype):
    # The first is right and the second, in the bin above, is wrong: in one bin they would cancel.
    confidence = np.array([edge / 15, edge / 15 + 0.02], dtype=dtype)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    expected = (1 - edge / 15) / 2 + (edge / 15 + 0.02) / 2
    assert metrics.calibration_error(probabilities, np.array([0, 1])) == pytest.approx(expected)


def test_full_confidence_belongs_to_the_last_bin():
    probabilities = np.array([[1.0, 0.0], [0.95, 0.05]])
    assert metrics.calibration_error(probabilities, np.array([1, 0])) == pytest.approx(0.95 / 2)


def test_a_bin_weighs_as_many_rows_as_it_has():
    # Three rows of confidence 0.9, all right, and one of 0.6 that is wrong.
    probabilities = np.array([[0.9, 0.1]] * 3 + [[0.6, 0.4]])
    error = metrics.calibration_error(probabilities, np.array([0, 0, 0, 1]))
    assert error == pytest.approx(3 / 4 * 0.1 + 1 / 4 * 0.6)
