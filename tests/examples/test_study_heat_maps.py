import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from keras_cmm import CMMImageClassifier
from keras_cmm.data import DemoSet


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "examples")
        yield importlib.import_module("study_heat_maps")


@pytest.fixture(scope="module")
def model():
    """Zero-shot, so that nothing is trained here."""
    names = DemoSet.load().class_names
    return CMMImageClassifier.from_preset("emoji_clip_tiny", names, template="an emoji of {}")


@pytest.fixture(scope="module")
def pictures(script):
    demo = DemoSet.load()
    return script.compose(demo.test_images, demo.test_labels, 24, seed=5)


def test_pictures_have_their_object_in_the_box(script, pictures):
    demo = DemoSet.load()
    again = script.compose(demo.test_images, demo.test_labels, 24, seed=5)
    for picture, other in zip(pictures, again, strict=True):
        assert picture.image.tobytes() == other.image.tobytes()
        assert picture.image.size == (128, 128)
        left, top, right, bottom = picture.box
        assert 0 <= left < right <= 128
        assert 0 <= top < bottom <= 128
        assert max(right - left, bottom - top) > 24
    corners = {(box[0] // 64, box[1] // 64) for *_, box in pictures[::2]}
    assert len(corners) == 4


def test_the_walk_is_the_towers_own(script, model, pictures):
    walk = script.Walk(model, pictures[0].image, pictures[0].class_id)
    score = walk.score(walk.outputs[-1][:, 0], "logit").item()
    expected = model.predict(pictures[0].image)[0, pictures[0].class_id]
    assert score == pytest.approx(expected, abs=1e-3)
    for weights in walk.attentions:
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))


def test_direct_effects_find_the_object(script, model, pictures):
    hits = script.play(model, pictures)
    assert set(hits) > set(script.WAYS)
    assert {len(values) for values in hits.values()} == {24}
    assert hits["direct effects, all layers"].mean() > 2 * hits["chance"].mean()
    assert np.mean(hits["the middle of the picture"][::2]) < 0.3
