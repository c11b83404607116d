"""Thresholds of held-out scores against their definition, and sets against crepes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusal

from keras_cmm_runtime.unknowns import HeldOutScores

RNG = np.random.default_rng(0)


def scores_of(likeness):
    return HeldOutScores(likeness, likeness)


@pytest.mark.parametrize("reject", [0.05, 0.1, 0.5])
def test_a_new_image_of_the_classes_is_rejected_at_the_rate(reject):
    """Of exchangeable images, `reject` is the rate over draws, to a step of 1 / (n + 1)."""
    rejected = [
        scores_of(RNG.normal(size=59)).is_unknown(RNG.normal(size=50), reject).mean()
        for _ in range(200)
    ]
    step = 1 / 60
    assert reject - step - 0.01 < np.mean(rejected) < reject + 0.01


@given(st.integers(19, 300), st.sampled_from([0.05, 0.1, 0.2]), st.integers(0, 10))
def test_the_threshold_is_that_of_conformal_p_values(images, reject, seed):
    rng = np.random.default_rng(seed)
    held_out, new = rng.normal(size=(2, images)).astype("float32")
    p_values = (1 + (held_out[None] <= new[:, None]).sum(axis=1)) / (images + 1)
    unknown = scores_of(held_out).is_unknown(new, reject)
    np.testing.assert_array_equal(unknown, p_values <= reject + 1e-9)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_are_those_of_crepes(coverage):
    crepes = pytest.importorskip("crepes")
    held_out = RNG.uniform(size=151).astype("float32")
    probabilities = RNG.dirichlet(np.ones(4), size=60).astype("float32")
    classifier = crepes.ConformalClassifier().fit(1 - held_out)
    expected = classifier.predict_set(1 - probabilities, confidence=coverage, smoothing=False)
    sets = scores_of(held_out).prediction_sets(probabilities, coverage)
    best = np.eye(4, dtype=bool)[probabilities.argmax(axis=1)]  # crepes may leave a set empty.
    np.testing.assert_array_equal(sets, np.asarray(expected, dtype=bool) | best)


def test_too_few_images_for_a_rate():
    few = scores_of(np.arange(18.0))
    assert few.threshold(0.053) == 0.0
    message = refusal(few.threshold, 0.05)
    assert "needs 19 held-out images or more, and there are 18" in message
    assert "take reject=0.053. Received: reject=0.05" in message
    assert "take coverage=0.947" in refusal(few.prediction_sets, [[0.5, 0.5]], 0.95)
    assert scores_of(np.arange(19.0)).threshold(0.05) == 0.0
    assert scores_of(np.arange(9.0)).prediction_sets([[0.5, 0.5]], 0.9).shape == (1, 2)


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, float("nan"), "0.05", True, None])
def test_rates_out_of_range(value):
    scores = scores_of(np.arange(50.0))
    assert "`reject` must be a float in (0, 1)" in refusal(scores.threshold, value)
    assert "`coverage` must be" in refusal(scores.prediction_sets, [[0.5, 0.5]], value)


@pytest.mark.parametrize("scores", [[], [np.nan], [[1.0]]])
def test_scores_that_cannot_be_used(scores):
    assert "finite scores of one image or more" in refusal(scores_of, scores)
