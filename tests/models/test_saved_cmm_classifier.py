import keras
import numpy as np
import pytest
from heads import (
    CLASSES,
    DIM,
    IMAGES,
    LABELS,
    TEXTS,
    evaluate,
    make_model,
)

from keras_cmm.layers import CrossModalMapping
from keras_cmm.losses import CrossModalTripletLoss
from keras_cmm.models import CMMClassifier

pytestmark = pytest.mark.backend_neutral


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 0.5, "logit_scale": 20.0, "triplet_weight": 2.0, "train_prototypes": False},
        {"temperature": 1.5, "train_temperature": 2.0, "contrastive_weight": 0.5},
        {"triplet_loss": CrossModalTripletLoss(0.3, duplicate_groups=[[0, 2]]), "name": "head"},
        {"mapping": CrossModalMapping(rank=2), "dtype": "mixed_bfloat16"},
    ],
    ids=["defaults", "numbers", "temperatures", "triplet_loss", "mapping"],
)
def test_serialization(options):
    model = CMMClassifier(CLASSES, **options)
    config = keras.saving.serialize_keras_object(model)
    restored = keras.saving.deserialize_keras_object(config)
    assert restored.get_config() == model.get_config()
    assert restored.mapping.rank == (2 if "mapping" in options else None)
    for name in set(options) - {"mapping", "triplet_loss", "dtype"}:
        assert getattr(restored, name) == options[name]


@pytest.mark.parametrize("rank", [None, 2])
def test_save_and_load(tmp_path, rank):
    model = CMMClassifier.from_text_embeddings(TEXTS, mapping=CrossModalMapping(rank=rank))
    model.train_offsets = np.linspace(-1.0, 2.0, CLASSES)
    model.compile()
    model.fit(IMAGES, LABELS, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        restored.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )
    # The optimizer and the offsets are restored too: both go on alike.
    np.testing.assert_array_equal(restored.train_offsets, model.train_offsets)
    for either in (model, restored):
        either.fit(IMAGES, LABELS, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        restored.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), rtol=1e-5, atol=1e-4
    )
    assert evaluate(restored) == pytest.approx(evaluate(model), rel=1e-4)


def test_save_and_load_without_compile(tmp_path):
    model = make_model()
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        restored.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


def test_weights_of_their_own_file(tmp_path):
    model = make_model()
    model.save_weights(tmp_path / "head.weights.h5")
    restored = CMMClassifier(CLASSES)
    restored.build((None, DIM))
    restored.load_weights(tmp_path / "head.weights.h5")
    np.testing.assert_array_equal(
        restored.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


def test_duplicate_texts_are_saved_with_the_weights(tmp_path):
    repeated = CMMClassifier.from_text_embeddings(TEXTS[[0, 1, 0, 3]])
    repeated.compile(metrics=None)
    expected = repeated.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    repeated.save_weights(tmp_path / "repeated.weights.h5")
    model = CMMClassifier.from_text_embeddings(TEXTS)
    model.compile(metrics=None)
    model.evaluate(IMAGES, LABELS, verbose=0)  # Traces a step without groups.
    model.save_weights(tmp_path / "different.weights.h5")
    model.load_weights(tmp_path / "repeated.weights.h5")
    assert model.triplet_loss.duplicate_groups == [[0, 2]]
    got = model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    assert got["triplet"] == pytest.approx(expected["triplet"], rel=1e-5)
    repeated.load_weights(tmp_path / "different.weights.h5")
    assert repeated.triplet_loss.duplicate_groups is None


def test_a_callback_may_load_weights(tmp_path):
    """Keras's BackupAndRestore does, and continues after the epochs that were finished."""

    def fit(epochs, *callbacks):
        model = CMMClassifier.from_text_embeddings(TEXTS[[0, 1, 0, 3]], alpha=0.5)
        model.compile(metrics=None)
        backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        return model, model.fit(
            IMAGES, LABELS, epochs=epochs, callbacks=[backup, *callbacks], verbose=0
        )

    class AnotherAlpha(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.alpha = 0.25

    fit(2, AnotherAlpha())
    model, history = fit(4)
    assert history.epoch == [2, 3]
    assert model.alpha == 0.25
    assert model.triplet_loss.duplicate_groups == [[0, 2]]


def test_numbers_go_with_the_weights():
    model = CMMClassifier.from_text_embeddings(TEXTS, alpha=0.3, temperature=2.0)
    again = CMMClassifier.from_text_embeddings(TEXTS)
    again.set_weights(model.get_weights())
    assert (again.alpha, again.temperature) == (0.3, 2.0)
    np.testing.assert_array_equal(
        again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )
    with pytest.raises(ValueError, match=r"`alpha` must be a float >= 0. Received: alpha=-1"):
        again.alpha = -1
    with pytest.raises(ValueError, match=r"`alpha` must be a float >= 0. Received: alpha='1'"):
        CMMClassifier(4, alpha="1")


def test_weights_of_a_subclass_are_loaded_too(tmp_path):
    class WithBias(CMMClassifier):
        def build(self, input_shape):
            super().build(input_shape)
            self.bias = self.add_weight(shape=(self.num_classes,), initializer="zeros")

    model, again = (WithBias.from_text_embeddings(TEXTS) for _ in range(2))
    model.bias.assign(np.arange(4.0))
    model.save_weights(tmp_path / "model.weights.h5")
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again.bias), np.arange(4.0))


def test_weights_hold_what_fitting_sets(tmp_path):
    numbers = {"alpha": 2.5, "logit_scale": 30.0, "clip_weight": 0.5, "temperature": 1.7}
    model = CMMClassifier.from_text_embeddings(TEXTS, **numbers)
    model.save_weights(tmp_path / "model.weights.h5")
    again = CMMClassifier.from_text_embeddings(TEXTS[::-1])
    again.predict(TEXTS, verbose=0)
    again.load_weights(tmp_path / "model.weights.h5")
    assert {name: getattr(again, name) for name in numbers} == numbers
    np.testing.assert_allclose(
        again.predict(TEXTS, verbose=0), model.predict(TEXTS, verbose=0), rtol=1e-5
    )
