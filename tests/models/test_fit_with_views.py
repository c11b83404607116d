"""Augmented views in training and at test time."""

import keras
import numpy as np
import pytest
from pictures import NAMES, make_images

from keras_cmm import CMMImageClassifier, InputError


@pytest.fixture(scope="module")
def fitted(tiny_preset):
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    images, labels = make_images()
    model.fit(images, labels, views=2, epochs=1, verbose=0)
    return model


def test_fit_trains_on_the_means_of_views(fitted, tiny_preset):
    images, labels = make_images()
    rows = fitted.embed(images, views=2)
    np.testing.assert_allclose(fitted.support_images.embeddings, rows, atol=1e-3)
    other = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    other.fit_embeddings(rows, labels, epochs=1, verbose=0)
    np.testing.assert_allclose(
        fitted.predict_embeddings(rows), other.predict_embeddings(rows), atol=1e-3
    )
    assert fitted.head.temperature == pytest.approx(other.head.temperature, abs=1e-3)


def test_views_at_test_time(fitted):
    images, labels = make_images()
    rows = fitted.embed(images, views=3)
    logits = fitted.predict(images, views=3)
    np.testing.assert_allclose(logits, fitted.predict_embeddings(rows), atol=1e-4)
    assert np.abs(logits - fitted.predict(images)).max() > 1e-3
    (((name, probability), *_),) = fitted.classify(images[0], views=3)
    assert fitted.classify_embeddings(rows[:1])[0][0] == (
        name,
        pytest.approx(probability, abs=1e-5),
    )
    sets = fitted.predict_sets(images, coverage=0.5, views=3)
    assert [each[0][0] for each in sets] == [NAMES[row] for row in logits.argmax(axis=1)]
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    measured = fitted.evaluate(images, labels, verbose=0, views=3)
    assert measured["accuracy"] == pytest.approx(accuracy)
    losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    assert measured["cross_entropy"] == pytest.approx(float(keras.ops.mean(losses)), rel=1e-3)


def test_mistakes_are_told_before_any_image_is_embedded(model):
    images, labels = ["no such file.jpg"] * 3, [0, 1, 2]
    with pytest.raises(InputError, match="`views` must be an int >= 0"):
        model.fit(images, labels, views=-1)
    with pytest.raises(ValueError, match="`views` cannot be used with `augmentation`"):
        model.fit(images, labels, views=2, augmentation=keras.layers.RandomFlip())
