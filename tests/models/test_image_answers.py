"""Image classifiers that say "unknown", and name sets of classes."""

import numpy as np
import pytest
from pictures import NAMES, make_images
from refusals import refusal

from keras_cmm import CMMImageClassifier
from keras_cmm_runtime import OnnxClassifier
from keras_cmm_runtime.unknowns import HeldOutScores

IMAGES, LABELS = make_images()


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A model that was calibrated by cross-validation, saved and exported."""
    folder = tmp_path_factory.mktemp("calibrated")
    trained.save_to_preset(folder / "trained")
    model = CMMImageClassifier.from_preset(folder / "trained")
    model.head.temperature = 20.0  # So that it is not quite sure of any image.
    model.calibrate_unknowns(IMAGES, LABELS, folds=2)
    model.save_to_preset(folder / "model")
    model.export(folder / "classifier.onnx", verbose=False)
    return folder


def test_both_engines_say_unknown_and_name_sets(folder):
    keras = CMMImageClassifier.from_preset(folder / "model")
    onnx = OnnxClassifier.load(folder / "classifier.onnx")
    scores = keras.head.held_out_scores
    assert scores.own.shape == (len(IMAGES),)
    assert onnx.held_out_scores.as_lists() == scores.as_lists()
    # Half of the images are less sure than the median one.
    best = onnx.probabilities(onnx.predict(IMAGES)).max(axis=1)
    median = HeldOutScores(np.sort(best), scores.own)
    keras.head.held_out_scores = onnx.held_out_scores = median
    for model in (keras, onnx):
        named = model.classify(IMAGES, top_k=2, reject=0.5)
        unknown = np.array([each[0][0] == "unknown" for each in named])
        # The sixth of the twelve lies on the threshold, so that rounding decides.
        assert unknown.sum() in (5, 6)
        assert best[unknown].max() <= best[~unknown].min()
        assert [len(each) for each in named] == np.where(unknown, 1, 2).tolist()
        numbers = [each[0][1] for each in named]
        np.testing.assert_allclose(numbers, np.where(unknown, 1 - best, best), atol=1e-4)
        sets = model.predict_sets(IMAGES, coverage=0.9)
        all_classes = model.classify(IMAGES, top_k=len(NAMES))
        for within, classes in zip(sets, all_classes, strict=True):
            assert within == classes[: len(within)]
        assert "needs 99 held-out images" in refusal(model.classify, IMAGES, reject=0.01)


def test_a_model_that_is_not_calibrated_says_what_to_do(model):
    for call in (lambda: model.classify(IMAGES, reject=0.05), lambda: model.predict_sets(IMAGES)):
        message = refusal(call)
        assert "call its `calibrate_unknowns`" in message
        assert "Fit it again" in message
