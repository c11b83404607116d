import numpy as np
import pytest
from heads_of_models import IMAGES, TEXTS, make_head

from keras_cmm.explain import DecisionShares
from keras_cmm.explain.decision_shares import logit_parts


@pytest.mark.backend_neutral
@pytest.mark.parametrize("settings", [{}, {"alpha": 7.5, "clip_weight": 0.25, "logit_scale": 14.0}])
def test_the_parts_add_up_to_the_logits(settings):
    head = make_head(**settings)
    text, images = logit_parts(head, IMAGES)
    np.testing.assert_allclose(text + images, head.predict(IMAGES, verbose=0), rtol=1e-5, atol=1e-4)
    scale = head.logit_scale * head.clip_weight
    unit = IMAGES / np.linalg.norm(IMAGES, axis=1, keepdims=True)
    texts = TEXTS / np.linalg.norm(TEXTS, axis=1, keepdims=True)
    np.testing.assert_allclose(text, scale * unit @ texts.T, rtol=1e-4, atol=1e-4)


@pytest.mark.backend_neutral
def test_a_part_of_weight_zero_adds_nothing():
    text, images = logit_parts(make_head(alpha=0.0), IMAGES)
    assert not images.any()
    assert text.any()
    text, images = logit_parts(make_head(clip_weight=0.0), IMAGES)
    assert not text.any()
    assert images.any()


def test_shares_add_up_to_one():
    for text, images in np.random.default_rng(0).normal(size=(100, 2)).tolist():
        shares = DecisionShares("ant", "bee", text, images)
        assert shares.margin == text + images
        assert shares.text_share + shares.images_share == pytest.approx(1)
        assert shares.text_share * shares.margin == pytest.approx(text)
        assert shares.images_share * shares.margin == pytest.approx(images)


def test_a_tie_has_no_shares():
    shares = DecisionShares("ant", "bee", 2.0, -2.0)
    assert (shares.margin, shares.text_share, shares.images_share) == (0, None, None)
