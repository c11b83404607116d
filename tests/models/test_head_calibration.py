"""How sure heads are of images that they were not trained on."""

import keras
import numpy as np
import pytest
from heads import CLASSES, IMAGES, LABELS, TEXTS, make_model
from refusals import refusal

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.recipes import cross_validated_scores, held_out_rows
from keras_cmm_runtime.unknowns import HeldOutScores

pytestmark = pytest.mark.backend_neutral

QUICK = AutoRecipe(epochs=2, min_steps=1)


def scores_of(head, rows):
    logits = head.predict(IMAGES[rows], verbose=0)
    return HeldOutScores.of(keras.ops.convert_to_numpy(head.probabilities(logits)), LABELS[rows])


def test_fit_calibrates_on_the_rows_of_the_temperature():
    head = CMMClassifier.from_text_embeddings(TEXTS)
    QUICK.fit(head, IMAGES, LABELS, verbose=0)
    rows = held_out_rows(LABELS, seed=0)
    assert head.held_out_scores.own.shape == (rows.sum(),)
    # Not by the head itself, which knows these rows.
    assert np.abs(head.held_out_scores.own - scores_of(head, rows).own).max() > 1e-3
    # With validation data, the head itself is the judge.
    QUICK.fit(head, IMAGES, LABELS, validation_data=(IMAGES[:9], LABELS[:9]), verbose=0)
    expected = scores_of(head, slice(9))
    np.testing.assert_allclose(head.held_out_scores.own, expected.own, atol=1e-5)
    np.testing.assert_allclose(head.held_out_scores.best, expected.best, atol=1e-5)


def test_one_image_a_class_cannot_be_held_out():
    head = CMMClassifier.from_text_embeddings(TEXTS)
    QUICK.fit(head, IMAGES[:CLASSES], LABELS[:CLASSES], verbose=0)
    assert head.held_out_scores is None
    message = refusal(head.calibrate_unknowns, IMAGES[:CLASSES], LABELS[:CLASSES])
    assert "no class has two images" in message


def test_cross_validation_judges_every_image_once_by_a_head_without_it():
    class Recording(AutoRecipe):
        def fit(self, head, x, y, **arguments):
            trained.append(len(y))
            assert set(y.tolist()) == set(range(CLASSES))
            return super().fit(head, x, y, **arguments)

    trained = []
    rows = np.append(np.flatnonzero(LABELS < 3), [3])  # The last class has one image.
    head = make_model(trained=False)
    recipe = Recording(epochs=1, min_steps=1)
    scores = cross_validated_scores(recipe, head, IMAGES[rows], LABELS[rows])
    assert len(trained) == 5
    assert sum(len(rows) - count for count in trained) == len(scores.own) == 18
    # Two folds are fewer heads.
    trained.clear()
    head.calibrate_unknowns(IMAGES, LABELS, folds=2, recipe=recipe)
    assert trained == [12, 12]
    assert head.held_out_scores.own.shape == (24,)


def test_scores_are_saved_and_end_with_the_classes(tmp_path):
    head = make_model()
    make_model().save_weights(tmp_path / "old.weights.h5")
    head.held_out_scores = HeldOutScores([0.5, 0.75], [0.25, 0.5])
    head.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras")
    assert again.held_out_scores.as_lists() == head.held_out_scores.as_lists()
    again.remove_class(0)
    assert again.held_out_scores is None
    # A file of an earlier version has none.
    head.load_weights(tmp_path / "old.weights.h5")
    assert head.held_out_scores is None


@pytest.mark.parametrize(("argument", "value"), [("folds", 1), ("seed", -1)])
def test_numbers_that_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"Received: {argument}={value}"):
        make_model().calibrate_unknowns(IMAGES, LABELS, **{argument: value})
