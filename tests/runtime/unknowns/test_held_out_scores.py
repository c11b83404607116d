"""Thresholds of held-out scores against their definition, and sets against crepes."""

import crepes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusal

from keras_cmm_runtime.unknowns import HeldOutScores

RNG = np.random.default_rng(0)


def scores_of(values):
    return HeldOutScores(values, values)


def rows(best):
    """Probabilities of two classes, of which the first has the given ones."""
    return np.stack([best, np.zeros_like(best)], axis=1)


def test_of_and_lists():
    probabilities = np.array([[0.7, 0.3], [0.6, 0.4]])
    scores = HeldOutScores.of(probabilities, np.array([1, 0]))
    np.testing.assert_array_equal(scores.best, np.float32([0.6, 0.7]))
    np.testing.assert_array_equal(scores.own, np.float32([0.3, 0.6]))
    again = HeldOutScores(**scores.as_lists())
    np.testing.assert_array_equal(again.own, scores.own)


@pytest.mark.parametrize("reject", [0.05, 0.1, 0.5])
def test_a_new_image_of_the_classes_is_rejected_at_the_rate(reject):
    """Of exchangeable images, `reject` is the rate over draws, to a step of 1 / (n + 1)."""
    rejected = [
        scores_of(RNG.uniform(size=59)).is_unknown(rows(RNG.uniform(size=50)), reject).mean()
        for _ in range(200)
    ]
    step = 1 / 60
    assert reject - step - 0.01 < np.mean(rejected) < reject + 0.01


@given(st.integers(19, 300), st.sampled_from([0.05, 0.1, 0.2]), st.integers(0, 10))
def test_the_threshold_is_that_of_conformal_p_values(images, reject, seed):
    held_out, new = np.random.default_rng(seed).uniform(size=(2, images)).astype("float32")
    p_values = (1 + (held_out[None] <= new[:, None]).sum(axis=1)) / (images + 1)
    unknown = scores_of(held_out).is_unknown(rows(new), reject)
    np.testing.assert_array_equal(unknown, p_values <= reject + 1e-9)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_are_those_of_crepes(coverage):
    held_out = RNG.uniform(size=151).astype("float32")
    probabilities = RNG.dirichlet(np.ones(4), size=60).astype("float32")
    classifier = crepes.ConformalClassifier().fit(1 - held_out)
    expected = classifier.predict_set(1 - probabilities, confidence=coverage, smoothing=False)
    sets = scores_of(held_out).prediction_sets(probabilities, coverage)
    best = np.eye(4, dtype=bool)[probabilities.argmax(axis=1)]  # crepes may leave a set empty.
    np.testing.assert_array_equal(sets, np.asarray(expected, dtype=bool) | best)


def test_too_few_images_for_a_rate():
    few = scores_of(np.linspace(0.1, 0.9, 18))
    half = np.array([[0.5, 0.5]])
    assert few.is_unknown(half / 10, 0.053).tolist() == [True]
    message = refusal(few.is_unknown, half, 0.05)
    assert "needs 19 held-out images or more, and there are 18" in message
    assert "or take reject=0.053. Received: reject=0.05" in message
    assert "take coverage=0.947" in refusal(few.prediction_sets, half, 0.95)
    assert scores_of(np.linspace(0, 1, 9)).prediction_sets(half, 0.9).all()


def test_rates_next_to_their_bounds():
    scores, half = scores_of(np.linspace(0.1, 0.9, 18)), np.array([[0.5, 0.4]])
    assert scores.prediction_sets(half, 5e-324).tolist() == [[True, False]]
    assert scores.is_unknown(half, np.nextafter(1, 0)).tolist() == [True]
    assert "held-out images or more, and there are 18" in refusal(scores.is_unknown, half, 5e-324)


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, float("nan"), "0.05", True, None])
def test_rates_out_of_range(value):
    scores, half = scores_of(np.linspace(0, 1, 50)), np.array([[0.5, 0.5]])
    assert "`reject` must be a float in (0, 1)" in refusal(scores.is_unknown, half, value)
    assert "`coverage` must be" in refusal(scores.prediction_sets, half, value)


@pytest.mark.parametrize("scores", [[], [np.nan], [[1.0]]])
def test_scores_that_cannot_be_used(scores):
    assert "finite scores of one image or more" in refusal(scores_of, scores)
