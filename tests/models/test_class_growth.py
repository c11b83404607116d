"""Image classifiers that classes are added to, removed from and renamed in."""

import keras
import numpy as np
import pytest
from pictures import NAMES, make_images
from refusals import refusal

from keras_cmm import CMMImageClassifier

IMAGES, LABELS = make_images()


def test_grown_before_its_first_fit(model, tiny_preset, tmp_path):
    """It is the classifier of the new names, for the functional model as for `predict`."""
    before = model.predict(IMAGES)
    model.add_class("dog")
    logits = model.predict(IMAGES)
    np.testing.assert_array_equal(logits[:, :3], before)
    expected = CMMImageClassifier.from_preset(tiny_preset, [*NAMES, "dog"])
    np.testing.assert_allclose(logits, expected.predict(IMAGES), atol=1e-3)
    pixels = np.stack([model.embedder.preprocessor(image) for image in IMAGES[:2]])
    assert model.output_shape == (None, 4)
    np.testing.assert_allclose(model(pixels).detach().cpu(), logits[:2], atol=1e-3)
    model.fit(IMAGES, ["dog" if row == 0 else NAMES[label] for row, label in enumerate(LABELS)])
    assert model.predict(IMAGES).shape == (12, 4)


def test_saved_and_loaded_again(trained, tmp_path):
    """The logits are the same to the bit, as a preset and as a file of Keras."""
    trained.save_to_preset(tmp_path / "before")
    model = CMMImageClassifier.from_preset(tmp_path / "before")
    before = model.predict(IMAGES)
    model.add_class("dog", IMAGES[:2], descriptions=["a dog that barks."])
    logits = model.predict(IMAGES)
    np.testing.assert_array_equal(logits[:, :3], before)
    model.save_to_preset(tmp_path / "grown")
    model.save(tmp_path / "grown.keras")
    for again in (
        CMMImageClassifier.from_preset(tmp_path / "grown"),
        keras.saving.load_model(tmp_path / "grown.keras"),
    ):
        np.testing.assert_array_equal(again.predict(IMAGES), logits)
        assert again.class_names == (*NAMES, "dog")
        assert again.descriptions == {"dog": ["a dog that barks."]}
        again.remove_class("bee")
        assert again.class_names == ("ant", "cat", "dog")
        np.testing.assert_array_equal(again.predict(IMAGES), np.delete(logits, 1, axis=1))
        again.rename_class("dog", "hound")
        assert again.descriptions == {"hound": ["a dog that barks."]}
        np.testing.assert_array_equal(again.predict(IMAGES), np.delete(logits, 1, axis=1))
        assert again.classify(IMAGES[:1], top_k=3)[0][-1][0] in again.class_names
        again.remove_class("hound")
        assert again.descriptions == {}
        again.fit(IMAGES[:8], [again.class_names[row // 4] for row in range(8)], verbose=0)


def test_what_is_refused(model):
    for name, told in (
        ("ant", "there is a class 'ant' already"),
        (" ", "none blank"),
        (3, "must be a list of strings"),
    ):
        assert told in refusal(model.add_class, name)
        assert told in refusal(model.rename_class, "bee", name)
    assert "no class 'dog'; the classes are 'ant', 'bee', 'cat'" in refusal(
        model.remove_class, "dog"
    )
    assert "no class 'dog'" in refusal(model.rename_class, "dog", "fox")
    with pytest.raises(Exception, match="no_such_file"):
        model.add_class("fox", ["no_such_file.png"])
    assert model.class_names == tuple(NAMES)
    assert model.head.num_classes == 3
    model.remove_class("ant")
    assert "two classes or more" in refusal(model.remove_class, "bee")
    assert model.class_names == ("bee", "cat")


def test_one_name_in_another_unicode_form_is_the_same_class(model):
    model.rename_class("ant", "caf\u00e9")
    assert "already" in refusal(model.add_class, "cafe\u0301")
    model.remove_class("cafe\u0301")
    assert model.class_names == ("bee", "cat")
