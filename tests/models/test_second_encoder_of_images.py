"""Image classifiers with a second encoder: CLIP's embeddings and another's in one row."""

import keras
import numpy as np
import pytest
from pictures import NAMES, make_images
from tiny_clip import make_tiny_preset

from keras_cmm import CMMImageClassifier
from keras_cmm.clip import EmbeddingStore, ImageEmbedder, load
from keras_cmm_runtime.errors import InputError

IMAGES, LABELS = make_images()


@pytest.fixture(scope="module")
def other_preset(tmp_path_factory):
    return make_tiny_preset(tmp_path_factory.mktemp("other"), seed=5)


@pytest.fixture(scope="module")
def model(tiny_preset, other_preset):
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, also=other_preset)
    model.fit(IMAGES, LABELS, epochs=20, verbose=0)
    return model


def test_it_joins_the_embeddings_of_both(model, tiny_preset, other_preset):
    each = [
        ImageEmbedder(load(preset)).embed(IMAGES).embeddings
        for preset in (tiny_preset, other_preset)
    ]
    np.testing.assert_allclose(model.embed(IMAGES), np.concatenate(each, axis=1), atol=1e-6)
    assert model.head.also_dim == each[1].shape[1]


def test_before_fit_it_is_zero_shot(tiny_preset, other_preset):
    one = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    two = CMMImageClassifier.from_preset(tiny_preset, NAMES, also=other_preset)
    np.testing.assert_allclose(two.predict(IMAGES), one.predict(IMAGES), atol=1e-4)


def test_it_learns(model):
    assert model.evaluate(IMAGES, LABELS, verbose=0)["accuracy"] == 1.0


def test_a_direct_call_takes_pixels_for_each(model):
    pixels = {
        name: np.stack([embedder.preprocessor(image) for image in IMAGES])
        for name, embedder in (
            ("images", model.embedder.first),
            ("also_images", model.embedder.second),
        )
    }
    logits = keras.ops.convert_to_numpy(model(pixels))
    np.testing.assert_allclose(logits, model.predict(IMAGES), atol=1e-3)


def test_saved_and_loaded(model, tmp_path):
    logits = model.predict(IMAGES)
    model.save_to_preset(tmp_path / "folder")
    model.save(tmp_path / "model.keras")
    for again in (
        CMMImageClassifier.from_preset(tmp_path / "folder"),
        keras.saving.load_model(tmp_path / "model.keras"),
    ):
        np.testing.assert_allclose(again.predict(IMAGES), logits, atol=1e-4)


def test_a_store_keeps_the_embeddings_of_each(model, tiny_preset, tmp_path, monkeypatch):
    store = EmbeddingStore(tmp_path)
    monkeypatch.setattr(model.embedder, "store", store)
    expected = model.embed(IMAGES)
    assert store.taken == 0
    np.testing.assert_array_equal(model.embed(IMAGES), expected)
    assert store.taken == 2 * len(IMAGES)
    # CLIP's are those of a classifier without the other.
    ImageEmbedder(load(tiny_preset), store=store).embed(IMAGES)
    assert store.taken == 3 * len(IMAGES)


def test_an_image_that_cannot_be_read_is_skipped_by_both(model, tmp_path):
    images = [IMAGES[0], tmp_path / "none.png", IMAGES[1]]
    done = []
    with pytest.warns(UserWarning, match=r"left out: .*none\.png"):
        embedded = model.embedder.embed(
            images, on_error="skip", progress=lambda *each: done.append(each)
        )
    assert embedded.rows.tolist() == [0, 2]
    assert done == [(3, 3)]
    np.testing.assert_allclose(embedded.embeddings, model.embed(IMAGES[:2]), atol=1e-6)
    with pytest.raises(InputError, match=r"none\.png"):
        model.embed(images)


def test_a_class_is_added_and_removed(model, tmp_path):
    model.save_to_preset(tmp_path)
    grown = CMMImageClassifier.from_preset(tmp_path)
    before = grown.predict(IMAGES)
    grown.add_class("dog")
    np.testing.assert_array_equal(grown.predict(IMAGES)[:, :3], before)
    grown.remove_class("dog")
    grown.add_class("dog", IMAGES[:4])
    assert grown.predict(IMAGES).shape == (len(IMAGES), 4)


def test_explained_without_a_heat_map(model):
    explanation = model.explain(IMAGES[0], heat_map=False)
    assert explanation.class_name == NAMES[0]
    logits = model.predict(IMAGES[:1])[0]
    rival = np.sort(logits)[-2]
    assert explanation.shares.margin == pytest.approx(logits.max() - rival, abs=1e-3)
    with pytest.raises(InputError, match="use `heat_map=False`"):
        model.explain(IMAGES[0])


def test_what_it_cannot_do_is_refused(model, tiny_preset, tmp_path):
    for name in ("a.onnx", "a.pt2"):
        style = {"a.onnx": "onnx", "a.pt2": "torch"}[name]
        with pytest.raises(InputError, match="a second encoder cannot be exported"):
            model.export(tmp_path / name, style)
    with pytest.raises(InputError, match="use `save_to_preset`"):
        model.save_head(tmp_path / "head.safetensors")
    with pytest.raises(InputError, match="cannot be trained with `augmentation`"):
        model.fit(IMAGES, LABELS, augmentation=lambda pixels: pixels)
    with pytest.raises(ValueError, match=r"`also` must be what `keras_cmm\.clip\.load` returns"):
        CMMImageClassifier.from_preset(tiny_preset, NAMES, also=3)
    assert list(tmp_path.iterdir()) == []


def test_a_given_head_must_have_room_for_it(tiny_preset, other_preset):
    from keras_cmm import CMMClassifier

    with pytest.raises(ValueError, match="`head` must have `also_dim="):
        CMMImageClassifier.from_preset(tiny_preset, NAMES, also=other_preset, head=CMMClassifier(3))
