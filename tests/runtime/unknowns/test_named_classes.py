"""The names of classes, "unknown", and sets of classes."""

import numpy as np
import pytest
from refusals import refusal

from keras_cmm_runtime.unknowns import HeldOutScores, named_classes

NAMES = ["ant", "bee", "cat"]
ROWS = np.array([[0.5, 0.125, 0.375], [0.0, 1.0, 0.0]])
SCORES = HeldOutScores(np.linspace(0.6, 1, 19), np.linspace(0.3, 1, 19))


def test_the_most_probable_classes():
    assert named_classes(NAMES, ROWS, top_k=2) == [
        [("ant", 0.5), ("cat", 0.375)],
        [("bee", 1.0), ("ant", 0.0)],
    ]
    none = np.zeros((0, 3))
    assert named_classes(NAMES, none) == []
    assert named_classes(NAMES, none, scores=SCORES, reject=0.05, coverage=0.95) == []


def test_unknown_images_and_sets():
    first, second = named_classes(NAMES, ROWS, 1, SCORES, reject=0.05)
    assert (first, second) == ([("unknown", 0.5)], [("bee", 1.0)])
    first, second = named_classes(NAMES, ROWS, 1, SCORES, coverage=0.95)
    assert (first, second) == ([("ant", 0.5), ("cat", 0.375)], [("bee", 1.0)])
    first, second = named_classes(NAMES, ROWS, 1, SCORES, reject=0.05, coverage=0.95)
    assert (first, second) == ([("unknown", 0.5)], [("bee", 1.0)])


@pytest.mark.parametrize("rate", [{"reject": 0.05}, {"coverage": 0.9}])
def test_without_scores(rate):
    assert "Fit it again" in refusal(named_classes, NAMES, ROWS, **rate)


def test_a_class_called_unknown():
    names = ["ant", "unknown", "cat"]
    assert "rename it" in refusal(named_classes, names, ROWS, scores=SCORES, reject=0.05)
    named_classes(names, ROWS, scores=SCORES, coverage=0.9)


def test_top_k_out_of_range():
    with pytest.raises(ValueError, match="top_k"):
        named_classes(NAMES, ROWS, top_k=0)
