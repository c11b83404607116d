"""`keras.models.clone_model` and single images."""

import keras
import numpy as np
import pytest
from heads import IMAGES, TEXTS
from pictures import NAMES, make_images
from PIL import Image

from keras_cmm import CMMClassifier, CMMImageClassifier, InputError


@pytest.mark.backend_neutral
def test_a_clone_of_a_head():
    model = CMMClassifier.from_text_embeddings(TEXTS, alpha=0.3, temperature=2.0)
    clone = keras.models.clone_model(model)
    assert type(clone) is CMMClassifier
    assert clone.get_config() == model.get_config()
    clone.build(IMAGES.shape)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        clone.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


def test_a_clone_of_an_image_classifier(trained):
    clone = keras.models.clone_model(trained)
    assert type(clone) is CMMImageClassifier
    assert clone.get_config() == trained.get_config()
    assert isinstance(clone.get_compile_config()["optimizer"], dict)
    images, labels = make_images(seed=1)
    clone.set_weights(trained.get_weights())
    np.testing.assert_allclose(clone.predict(images), trained.predict(images), atol=1e-3)
    assert clone.evaluate(images, labels, verbose=0)["accuracy"] > 0.9
    before = trained.get_weights()
    clone.fit(images, labels, epochs=1, verbose=0)
    for weight, other in zip(trained.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_a_clone_with_a_head_of_ones_own(tiny_preset):
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=CMMClassifier(3, alpha=0.3))
    clone = keras.models.clone_model(model)
    assert clone.get_config() == model.get_config()
    assert clone.head is not model.head
    assert clone.head.alpha == 0.3


def test_too_many_positional_arguments(model):
    with pytest.raises(TypeError, match="7 positional arguments"):
        CMMImageClassifier(model.backbone, NAMES, None, "{}", None, None, None, "name")


def test_a_single_image(trained, tmp_path):
    images, _ = make_images(seed=1)
    array = np.asarray(images[0])
    path = tmp_path / "a.png"
    Image.fromarray(array).save(path)
    expected = trained.predict([array])
    named = trained.classify([array])
    grey = np.asarray(Image.fromarray(array).convert("L"))
    for image in (path, str(path), path.read_bytes(), Image.fromarray(array), array):
        np.testing.assert_array_equal(trained.predict(image), expected)
        assert trained.classify(image) == named
    assert trained.embed(path).shape == (1, trained.backbone.projection_dim)
    np.testing.assert_array_equal(trained.predict(grey[..., None]), trained.predict([grey]))
    # They may be many: a batch of grey images, or embeddings.
    for several in (np.stack([grey, grey]), grey):
        with pytest.raises(InputError, match="a single image"):
            trained.predict(several)


def test_top_k(trained):
    for top_k in (0, True, 1.5, float("inf")):
        with pytest.raises(ValueError, match="`top_k` must be an int >= 1"):
            trained.classify(make_images()[0], top_k=top_k)
