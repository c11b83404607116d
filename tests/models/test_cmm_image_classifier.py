import keras
import numpy as np
import pytest
from pictures import NAMES, make_images
from PIL import Image
from tiny_clip import DIM

import keras_cmm
from keras_cmm import (
    CMMClassifier,
    CMMImageClassifier,
    InputError,
)
from keras_cmm.clip import EmbeddingStore, TextEmbedder, load, logit_scale


def test_a_new_classifier_is_zero_shot_clip(model, tiny_preset):
    clip_model = load(tiny_preset)
    prompts = [[f"a photo of a {name}."] for name in NAMES]
    prototypes = TextEmbedder(clip_model).class_prototypes(prompts)
    images, _ = make_images()
    np.testing.assert_allclose(model.text_embeddings, prototypes, atol=1e-6)
    # Both branches see the same cosines, so the fused logits are (1 + alpha) times CLIP's.
    expected = 2 * logit_scale(clip_model.backbone) * model.embed(images) @ prototypes.T
    np.testing.assert_allclose(model.predict(images), expected, atol=1e-4)


def test_fit_learns_from_raw_images(trained):
    images, labels = make_images(seed=1)
    logits = trained.predict(images)
    assert logits.shape == (12, 3)
    assert (logits.argmax(axis=1) == labels).mean() > 0.9
    assert trained.evaluate(images, labels, verbose=0)["accuracy"] > 0.9


def test_each_image_is_embedded_once(model, monkeypatch):
    seen = []
    embed_pixels = model.embedder.embed_pixels
    monkeypatch.setattr(
        model.embedder, "embed_pixels", lambda pixels: seen.extend(pixels) or embed_pixels(pixels)
    )
    model.fit(*make_images(), epochs=5, verbose=0)
    assert len(seen) == 12


def test_a_store_keeps_embeddings_from_fit_to_fit(model, tiny_preset, tmp_path):
    images, labels = make_images()
    model.embedder.store = EmbeddingStore(tmp_path / "store")
    expected = model.fit(images, labels, epochs=1, verbose=0).history["loss"]
    assert model.embedder.store.taken == 0
    model.fit(images, labels, epochs=1, validation_data=(images, labels), verbose=0)
    assert model.embedder.store.taken == 2 * len(images)

    folder = tmp_path / "model"
    model.save_to_preset(folder)
    saved = CMMImageClassifier.from_preset(folder)
    assert saved.embedder.store is None
    for other in (saved, CMMImageClassifier.from_preset(tiny_preset, NAMES)):
        other.embedder.store = EmbeddingStore(tmp_path / "store")
        other.predict(images)
        assert other.embedder.store.taken == len(images)
    assert other.fit(images, labels, epochs=1, verbose=0).history["loss"] == expected


def test_the_backbone_is_frozen(model):
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.backbone.weights]
    model.fit(*make_images(), epochs=3, verbose=0)
    for weight, value in zip(model.backbone.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)
    assert len(model.trainable_variables) == 2  # the map and the prototypes


def test_the_backbone_stays_frozen_whatever_is_thawed(tiny_preset):
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    for value, number in ((False, 0), (True, 2)):
        model.trainable = value
        assert model.trainable is value
        assert len(model.trainable_variables) == number
        outer = keras.Sequential([model])
        outer.trainable = value
        assert len(outer.trainable_variables) == number


def test_classify_and_embed(trained):
    images, _ = make_images()
    guesses = trained.classify(images, top_k=2)
    assert [len(guess) for guess in guesses] == [2] * 12
    logits = trained.predict(images).astype("float64") / trained.head.temperature
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    for guess, row in zip(guesses, probabilities, strict=True):
        assert guess[0][0] == NAMES[row.argmax()]
        assert guess[0][1] == pytest.approx(row.max(), abs=1e-5)
        assert guess[0][1] >= guess[1][1]
    assert trained.classify(images[:1], top_k=9)[0].__len__() == 3
    assert trained.embed(images).shape == (12, DIM)
    assert trained.predict([]).shape == (0, 3)
    with pytest.raises(ValueError, match="top_k=0"):
        trained.classify(images, top_k=0)


def test_direct_call_takes_preprocessed_pixels(trained):
    images, _ = make_images()
    pixels = np.stack([trained.embedder.preprocessor(image) for image in images])
    logits = keras.ops.convert_to_numpy(trained(pixels))
    np.testing.assert_allclose(logits, trained.predict(images), atol=1e-4)


def test_a_bias_of_the_map_is_the_same_in_fit_and_in_a_direct_call(tiny_preset):
    head = CMMClassifier(3, mapping=keras_cmm.CrossModalMapping(use_bias=True))
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=head)
    model.fit(*make_images(), epochs=20, verbose=0)
    assert np.abs(keras.ops.convert_to_numpy(head.mapping.bias)).max() > 0
    test_direct_call_takes_preprocessed_pixels(model)


def test_templates_and_descriptions(tiny_preset):
    descriptions = {"ant": ["An ant is small."], "bee": ["A bee hums."], "cat": ["A cat purrs."]}
    model = CMMImageClassifier.from_preset(
        tiny_preset, NAMES, template=["a {}.", "the {}."], descriptions=descriptions
    )
    embedder = TextEmbedder(model._clip_model())
    expected = embedder.class_prototypes(
        [[f"a {name}.", f"the {name}.", *descriptions[name]] for name in NAMES]
    )
    np.testing.assert_allclose(model.text_embeddings, expected, atol=1e-6)
    config = model.get_config()
    assert config["template"] == ["a {}.", "the {}."]
    assert config["descriptions"] == descriptions


def test_own_head(tiny_preset):
    head = CMMClassifier(3, alpha=0.5, triplet_weight=2.0, train_prototypes=False)
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=head)
    assert model.head is head
    assert len(model.trainable_variables) == 1
    own = np.eye(3, DIM, dtype="float32")
    built = CMMClassifier.from_text_embeddings(own)
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=built)
    np.testing.assert_array_equal(model.text_embeddings, own)
    with pytest.raises(ValueError, match="a head of 2 classes"):
        CMMImageClassifier.from_preset(tiny_preset, NAMES, head=CMMClassifier(2))


def test_tf_data_of_paths(model, tmp_path):
    import tensorflow as tf

    images, labels = make_images()
    paths = [str(tmp_path / f"{number}.png") for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    dataset = tf.data.Dataset.from_tensor_slices((paths, labels))
    for each in (dataset, dataset.batch(5)):
        np.testing.assert_array_equal(model.predict(each), model.predict(images))
    encoded = dataset.map(lambda path, label: (tf.io.read_file(path), label))
    np.testing.assert_array_equal(model.predict(encoded.batch(5)), model.predict(images))


def test_classes_that_share_a_text_are_never_negatives(tiny_preset):
    names = ["missile", "bee", "missile "]
    model = CMMImageClassifier.from_preset(tiny_preset, names)
    assert model.head.triplet_loss.duplicate_groups == [[0, 2]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ant"], "two names or more"),
        (["ant", "ant"], "Received twice: 'ant'"),
        ("ant", "a list of strings"),
        ([1, 2], "a list of strings"),
        ({"ant", "bee"}, "whose order is that of the class ids"),
        (["ant", " "], "none blank"),
        (["ant", "caf\udce9"], "valid Unicode"),
    ],
)
def test_bad_class_names(tiny_preset, names, message):
    with pytest.raises(InputError, match=message):
        CMMImageClassifier.from_preset(tiny_preset, names)
