"""Unknown images and prediction sets of a head."""

import numpy as np
import pytest
from heads import CLASSES, DIM, IMAGES, LABELS, TEXTS, make_model, naive_similarities
from refusals import refusal

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.recipes import cross_validated_scores, held_out_rows

pytestmark = pytest.mark.backend_neutral


def test_likeness_is_the_largest_cosine_of_the_mapped_image():
    head = make_model()
    expected = naive_similarities(head).max(axis=1)
    np.testing.assert_allclose(head.likeness(IMAGES), expected, atol=1e-5)
    np.testing.assert_allclose(head.likeness(np.tile(IMAGES, (20, 1)))[-24:], expected, atol=1e-5)
    assert head.likeness(np.zeros((0, DIM))).shape == (0,)


def test_training_does_not_change_the_likeness():
    """It is that of the start, which is saved with the head."""
    head, started = (CMMClassifier.from_text_embeddings(TEXTS) for _ in range(2))
    AutoRecipe().prepare(started, IMAGES, LABELS)
    expected = naive_similarities(started).max(axis=1)
    AutoRecipe().fit(head, IMAGES, LABELS, verbose=0)
    np.testing.assert_allclose(head.likeness(IMAGES), expected, atol=1e-5)
    assert np.abs(naive_similarities(head).max(axis=1) - expected).max() > 1e-3


def test_fit_calibrates_on_rows_that_a_second_head_is_trained_without():
    head = CMMClassifier.from_text_embeddings(TEXTS)
    AutoRecipe().fit(head, IMAGES, LABELS, verbose=0)
    assert len(head.held_out_scores.likeness) == held_out_rows(LABELS, seed=0).sum() == CLASSES
    assert not np.isin(head.held_out_scores.likeness, head.likeness(IMAGES)).any()
    # With validation data, the head itself is the judge.
    AutoRecipe().fit(head, IMAGES, LABELS, validation_data=(IMAGES[:9], LABELS[:9]), verbose=0)
    np.testing.assert_allclose(
        head.held_out_scores.likeness, np.sort(head.likeness(IMAGES[:9])), atol=1e-6
    )


def test_one_image_a_class_cannot_be_held_out():
    head = CMMClassifier.from_text_embeddings(TEXTS)
    AutoRecipe().fit(head, IMAGES[:CLASSES], LABELS[:CLASSES], verbose=0)
    assert head.held_out_scores is None
    assert "call `calibrate_unknowns(x, y)`" in refusal(head.is_unknown, IMAGES)
    assert "call `calibrate_unknowns(x, y)`" in refusal(head.predict_sets, IMAGES)
    message = refusal(head.calibrate_unknowns, IMAGES[:CLASSES], LABELS[:CLASSES])
    assert "no class has two images" in message
    assert "`held_out=True`" in message
    head.calibrate_unknowns(IMAGES, LABELS, held_out=True)
    assert head.is_unknown(IMAGES, reject=0.25).sum() == 24 // 4 - 1


def test_cross_validation_judges_every_image_once_by_a_head_without_it():
    class Recording(AutoRecipe):
        def fit(self, head, x, y, **arguments):
            trained.append(len(y))
            assert set(y.tolist()) == set(range(CLASSES))
            return super().fit(head, x, y, **arguments)

    trained = []
    rows = np.append(np.flatnonzero(LABELS < 3), [3])  # The last class has one image.
    head = make_model(trained=False)
    scores = cross_validated_scores(Recording(max_steps=2), head, IMAGES[rows], LABELS[rows])
    assert len(trained) == 5
    assert sum(len(rows) - count for count in trained) == len(scores.likeness) == 18


def test_held_out_scores_are_saved_and_end_with_the_classes(tmp_path):
    import keras

    head = make_model()
    head.calibrate_unknowns(IMAGES, LABELS, held_out=True)
    head.remember_images(IMAGES)
    head.keep_start()
    head.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras")
    for name in ("likeness", "own_probability"):
        np.testing.assert_array_equal(
            getattr(again.held_out_scores, name), getattr(head.held_out_scores, name)
        )
    np.testing.assert_array_equal(again.mapped_centre, head.mapped_centre)
    np.testing.assert_array_equal(again.likeness(IMAGES), head.likeness(IMAGES))
    for one, other in zip(again.start, head.start, strict=True):
        np.testing.assert_array_equal(one, other)
    again.remove_class(0)
    assert again.start is None
    assert again.held_out_scores is None
    assert again.mapped_centre is not None
    # A file of an earlier version has neither.
    make_model().save_weights(tmp_path / "old.weights.h5")
    head.load_weights(tmp_path / "old.weights.h5")
    assert head.held_out_scores is None
    assert head.mapped_centre is None


def test_sets_hold_the_right_class():
    head = make_model()
    head.calibrate_unknowns(IMAGES, LABELS, held_out=True)
    small, large = (head.predict_sets(IMAGES, coverage) for coverage in (0.5, 0.9))
    right = np.arange(len(LABELS)), LABELS
    assert small[right].mean() >= 0.5
    assert large[right].mean() >= 0.9
    assert (small <= large).all()
    assert small.any(axis=1).all()


@pytest.mark.parametrize(("argument", "value"), [("folds", 1), ("seed", -1)])
def test_numbers_that_are_refused(argument, value):
    message = refusal(make_model().calibrate_unknowns, IMAGES, LABELS, **{argument: value})
    assert f"Received: {argument}={value}" in message
