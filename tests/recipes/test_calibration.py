import numpy as np
import pytest
from scipy.special import softmax

from keras_cmm.recipes import fit_temperature, held_out_rows


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(truth):
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=4.0, size=(20_000, 5))
    probabilities = softmax(logits / truth, axis=1)
    labels = (probabilities.cumsum(axis=1) < generator.random((len(logits), 1))).sum(axis=1)
    assert fit_temperature(logits, labels) == pytest.approx(truth, rel=0.05)


def test_the_temperature_stays_in_bounds_where_all_is_right():
    logits, labels = np.tile(np.eye(3), (10_000, 1)), np.tile(np.arange(3), 10_000)
    assert fit_temperature(logits, labels) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(("offset", "low", "high"), [(0, 0.4, 1.0), (1, 1.5, 5.0)])
def test_a_few_rows_that_are_all_right_or_all_wrong_say_little(offset, low, high):
    labels = (np.arange(4) + offset) % 4
    assert low < fit_temperature(6.0 * np.eye(4), labels) < high


@pytest.mark.parametrize(("shots", "held"), [(1, 0), (2, 1), (4, 1), (8, 2), (16, 4), (40, 4)])
def test_a_quarter_of_each_class_is_held_out(shots, held):
    labels = np.repeat(np.arange(3), shots)
    rows = held_out_rows(labels, seed=1)
    assert np.bincount(labels[rows], minlength=3).tolist() == [held] * 3
    np.testing.assert_array_equal(rows, held_out_rows(labels, seed=1))


def test_a_class_keeps_its_last_row():
    labels = np.array([0] * 8 + [1])
    assert not held_out_rows(labels, seed=0)[-1]
