import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_cmm.evaluation import confusion_matrix, macro_f1, per_class_accuracy, top_1, top_k


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6), k=st.integers(1, 7))
def test_top_k_against_sorting(seed, classes, k):
    rng = np.random.default_rng(seed)
    logits = rng.integers(0, 4, size=(9, classes)).astype("float32")  # Ties are frequent.
    labels = rng.integers(0, classes, size=9)
    hits = 0
    for row, label in zip(logits, labels, strict=True):
        guesses = sorted(range(classes), key=lambda c: (-row[c], c))[:k]
        hits += label in guesses
    assert top_k(logits, labels, k) == pytest.approx(100 * hits / 9)
    assert top_1(logits, labels) == pytest.approx(100 * np.mean(logits.argmax(axis=1) == labels))


def test_rows_of_nan_are_misses():
    logits = np.full((2, 3), np.nan)
    assert top_k(logits, np.array([0, 1]), k=2) == 0.0


def test_confusion_and_per_class_accuracy():
    predictions, labels = np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1])
    matrix = confusion_matrix(predictions, labels, num_classes=4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(
        per_class_accuracy(predictions, labels, num_classes=4), [50, 50, np.nan, np.nan]
    )


def test_macro_f1_over_the_classes_that_occur():
    # F1 is 2/3 for class 0, 1/2 for class 1 and 0 for class 2, which is predicted only.
    score = macro_f1(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]))
    assert score == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
