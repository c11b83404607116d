from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.models.support_start import support_start

pytestmark = pytest.mark.backend_neutral

GENERATOR = np.random.default_rng(5)
TEXTS = np.linalg.qr(GENERATOR.normal(size=(8, 4)))[0].T.astype("float32")
LABELS = np.repeat(np.arange(4), 4)
IMAGES = TEXTS[LABELS] + 0.3 * GENERATOR.normal(size=(16, 8)).astype("float32")
IMAGES /= np.linalg.norm(IMAGES, axis=1, keepdims=True)


def make_head(logit_scale=50.0):
    return CMMClassifier.from_text_embeddings(TEXTS, logit_scale=logit_scale)


def test_the_head_starts_where_the_support_set_says():
    head = make_head()
    rows, labels = AutoRecipe().start(head, IMAGES, LABELS)
    start = support_start(IMAGES, LABELS, TEXTS)
    expected = IMAGES @ start.transform
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(head.mapping(IMAGES)), expected, atol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(head.prototypes.embeddings), start.prototypes, atol=1e-6
    )
    # The head's own texts are normalised once more.
    np.testing.assert_allclose(rows, np.concatenate([IMAGES, start.text_rows]), atol=1e-6)
    np.testing.assert_array_equal(labels, [*LABELS, 0, 1, 2, 3])
    assert head.alpha == pytest.approx(20.0 * 4**0.6 / 50.0)
    assert head.triplet_weight == 1.0
    assert head.train_temperature == 2.0


def test_alpha_counts_in_a_head_that_predicted_before():
    head = make_head()
    before = head.predict(IMAGES, verbose=0)
    AutoRecipe().start(head, IMAGES, LABELS)
    expected = 50.0 * IMAGES @ TEXTS.T + 20.0 * 4**0.6 * ops.convert_to_numpy(
        head.similarities(IMAGES)
    )
    after = head.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(after, expected, atol=1e-3)
    assert np.abs(after - before).max() > 1.0


def test_without_text_rows():
    rows, labels = replace(AutoRecipe(), text_rows=False).start(make_head(), IMAGES, LABELS)
    assert rows is IMAGES
    assert labels is LABELS


def test_shots_are_those_of_the_classes_that_have_any():
    head = make_head()
    AutoRecipe().start(head, IMAGES[:4], LABELS[:4])
    assert head.alpha == pytest.approx(20.0 * 4**0.6 / 50.0)


def test_training_keeps_what_is_right_and_changes_the_head():
    head = make_head(logit_scale=5.0)  # At a high scale there is nothing left to learn here.
    recipe = AutoRecipe(min_steps=20, shot_scale=1.0)
    rows, labels = recipe.start(head, IMAGES, LABELS)
    start = ops.convert_to_numpy(head.mapping.kernel).copy()
    assert recipe.train(head, rows, labels, seed=1) == 20
    assert (head.predict(IMAGES, verbose=0).argmax(axis=1) == LABELS).all()
    assert np.abs(ops.convert_to_numpy(head.mapping.kernel) - start).max() > 1e-4


def test_the_learning_rate_falls_as_the_embeddings_widen():
    recipe = AutoRecipe(learning_rate=1e-3)
    rates = [recipe.learning_rate_for(dim) for dim in (64, 512, 1024)]
    assert rates == pytest.approx([8e-3, 1e-3, 5e-4])
    optimizer = recipe.optimizer_for(len(LABELS), dim=1024)
    assert float(ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(5e-4)
