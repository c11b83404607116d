"""Image classifiers that say "unknown", and name sets of classes."""

import numpy as np
import pytest
from pictures import NAMES, make_images
from refusals import refusal

from keras_cmm import CMMImageClassifier

IMAGES, LABELS = make_images()
GREY = np.full((40, 40, 3), 128, "uint8")


@pytest.fixture
def calibrated(trained, tmp_path):
    """A copy that may be changed, saved and loaded again."""
    trained.save_to_preset(tmp_path / "trained")
    model = CMMImageClassifier.from_preset(tmp_path / "trained")
    model.calibrate_unknowns(*make_images(60, seed=1), held_out=True)
    model.save_to_preset(tmp_path / "calibrated")
    return CMMImageClassifier.from_preset(tmp_path / "calibrated")


def test_classify_says_unknown(calibrated):
    images = [*IMAGES, GREY]
    scores = calibrated.unknown_scores(images)
    assert scores.argmax() == len(IMAGES)
    named = calibrated.classify(images, top_k=2, reject=0.05)
    assert named[-1] == [("unknown", 1.0)]
    known = calibrated.classify(images, top_k=2)
    assert sum(best == other for best, other in zip(named, known, strict=True)) > 8
    assert all(name != "unknown" for best in known for name, _ in best)
    assert "needs 99 held-out images" in refusal(calibrated.classify, IMAGES, reject=0.01)


def test_predict_sets_names_classes(calibrated):
    sets = calibrated.predict_sets(IMAGES, coverage=0.9)
    best = calibrated.classify(IMAGES, top_k=len(NAMES))
    assert all(within == all_of[: len(within)] for within, all_of in zip(sets, best, strict=True))
    right = [NAMES[label] in dict(within) for within, label in zip(sets, LABELS, strict=True)]
    assert np.mean(right) >= 0.8


def test_cross_validation_uses_the_support_set(calibrated):
    calibrated.calibrate_unknowns(IMAGES, LABELS, folds=2)
    assert len(calibrated.head.held_out_scores.likeness) == len(IMAGES)


def test_a_model_that_is_not_calibrated_says_what_to_do(model):
    for call in (lambda: model.classify(IMAGES, reject=0.05), lambda: model.predict_sets(IMAGES)):
        message = refusal(call)
        assert "call `calibrate_unknowns(x, y)`" in message
        assert "or fit it again" in message


def test_a_class_of_that_name_is_told_apart(calibrated):
    calibrated.rename_class("ant", "unknown")
    assert "rename it by `rename_class`" in refusal(calibrated.classify, IMAGES, reject=0.05)
