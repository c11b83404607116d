"""The loss against its formula, written out with loops."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from label_forms import ONLY_TENSORFLOW, label_forms, of_unknown_width

from keras_cmm.layers import CrossModalMapping
from keras_cmm.losses import SupervisedContrastiveLoss

pytestmark = pytest.mark.backend_neutral

BATCH, CLASSES, DIM = 9, 4, 6
RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(BATCH, DIM)).astype("float32")
EMBEDDINGS /= np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
LABELS = np.array([0, 1, 2, 0, 1, 0, 3, 1, 0])  # One image of class 2, one of class 3.


def naive(labels, embeddings, temperature=0.1):
    """Returns one value a sample."""
    values = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        products = {
            j: sum(float(a) * float(b) for a, b in zip(embeddings[i], embeddings[j], strict=True))
            for j in others
        }
        largest = max(products.values(), default=0.0)
        total = sum(math.exp((products[j] - largest) / temperature) for j in others)
        terms = [
            (largest - products[j]) / temperature + math.log(total)
            for j in others
            if labels[j] == label
        ]
        values.append(sum(terms) / len(terms) if terms else 0.0)
    return values


def per_sample(loss, y_true, y_pred):
    loss.reduction = None
    return ops.convert_to_numpy(loss(y_true, y_pred))


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0, 3])
def test_formula(temperature):
    values = per_sample(SupervisedContrastiveLoss(temperature), LABELS, EMBEDDINGS)
    np.testing.assert_allclose(values, naive(LABELS, EMBEDDINGS, temperature), rtol=1e-4, atol=1e-5)
    assert values[2] == values[6] == 0.0
    assert values[0] > 0.0


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=7), st.integers(0, 1000))
def test_any_batch(labels, seed):
    embeddings = np.random.default_rng(seed).normal(size=(len(labels), 3)).astype("float32")
    values = per_sample(SupervisedContrastiveLoss(0.5), np.array(labels), embeddings)
    np.testing.assert_allclose(values, naive(labels, embeddings, 0.5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("y_true", label_forms(LABELS, CLASSES))
def test_forms_of_labels(y_true):
    values = per_sample(SupervisedContrastiveLoss(), y_true, EMBEDDINGS)
    np.testing.assert_allclose(values, naive(LABELS, EMBEDDINGS), rtol=1e-4, atol=1e-5)


@ONLY_TENSORFLOW
@pytest.mark.parametrize("y_true", [LABELS[:, None], np.eye(CLASSES)[LABELS]], ids=["ids", "hot"])
def test_labels_of_unknown_width(y_true):
    value = of_unknown_width(SupervisedContrastiveLoss(), y_true, EMBEDDINGS)
    assert value == pytest.approx(np.mean(naive(LABELS, EMBEDDINGS)), rel=1e-4)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("sum_over_batch_size", np.mean(naive(LABELS, EMBEDDINGS))),
        ("sum", np.sum(naive(LABELS, EMBEDDINGS))),
        (None, naive(LABELS, EMBEDDINGS)),
    ],
)
def test_reductions(reduction, expected):
    value = SupervisedContrastiveLoss(reduction=reduction)(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(ops.convert_to_numpy(value), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "sample_weight", [2.5, np.arange(BATCH, dtype="float32"), np.arange(BATCH)[:, None]]
)
def test_sample_weight(sample_weight):
    loss = SupervisedContrastiveLoss(reduction="sum")
    value = loss(LABELS, EMBEDDINGS, sample_weight=sample_weight)
    expected = (np.array(naive(LABELS, EMBEDDINGS)) * np.reshape(sample_weight, -1)).sum()
    assert float(value) == pytest.approx(expected, rel=1e-4)


def test_mask():
    inputs = keras.Input((DIM,))
    model = keras.Model(inputs, keras.layers.Masking()(inputs))
    model.compile(loss=SupervisedContrastiveLoss(0.5))
    rows = EMBEDDINGS.copy()
    rows[[0, 4]] = 0
    # Masked rows have no loss of their own, and the others are still told from them.
    expected = np.delete(naive(LABELS, rows, 0.5), [0, 4]).mean()
    assert model.evaluate(rows, LABELS, verbose=0) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 5e-2), ("float16", 5e-3)])
def test_embeddings_in_half_precision(dtype, tolerance):
    embeddings = ops.cast(ops.convert_to_tensor(EMBEDDINGS), dtype)
    value = SupervisedContrastiveLoss()(LABELS, embeddings)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(np.mean(naive(LABELS, EMBEDDINGS)), abs=tolerance)


def test_large_class_ids_survive_a_half_precision_floatx():
    # bfloat16 holds integers up to 256 only, and would take 300 and 301 for one class.
    floatx = keras.config.floatx()
    keras.config.set_floatx("bfloat16")
    try:
        value = SupervisedContrastiveLoss()(np.array([300, 301]), EMBEDDINGS[:2])
    finally:
        keras.config.set_floatx(floatx)
    assert float(value) == 0.0


def make_model():
    """Returns a mapping with an output of unit length, compiled with the loss."""
    inputs = keras.Input((DIM,))
    outputs = keras.layers.UnitNormalization()(CrossModalMapping(name="mapping")(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=SupervisedContrastiveLoss(0.5))
    return model


def test_fit_pulls_classes_together_and_is_saved(tmp_path):
    model = make_model()
    options = {"batch_size": BATCH, "verbose": 0}
    losses = model.fit(EMBEDDINGS, LABELS, epochs=20, **options).history["loss"]
    assert losses[0] == pytest.approx(np.mean(naive(LABELS, EMBEDDINGS, 0.5)), rel=1e-4)
    assert losses[-1] < losses[0]
    mapped = model.predict(EMBEDDINGS, verbose=0)
    same = (LABELS[:, None] == LABELS) & ~np.eye(BATCH, dtype=bool)
    before, after = EMBEDDINGS @ EMBEDDINGS.T, mapped @ mapped.T
    assert after[same].mean() > before[same].mean()

    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.loss.temperature == 0.5
    np.testing.assert_array_equal(restored.predict(EMBEDDINGS, verbose=0), mapped)
    evaluated = model.evaluate(EMBEDDINGS, LABELS, **options)
    assert restored.evaluate(EMBEDDINGS, LABELS, **options) == pytest.approx(evaluated, rel=1e-5)


@pytest.mark.parametrize("labels", [[0], [0, 1, 2], [0, 0, 0]], ids=["one", "alone", "one class"])
def test_a_batch_without_pairs_or_without_others_leaves_finite_weights(labels):
    model = make_model()
    model.fit(EMBEDDINGS[: len(labels)], np.array(labels), epochs=2, verbose=0)
    kernel = ops.convert_to_numpy(model.get_layer("mapping").kernel)
    assert np.isfinite(kernel).all()
    assert (kernel != 0).any() == (labels == [0, 0, 0])


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.5, "reduction": "sum", "name": "pairs"}, {"dtype": "bfloat16"}],
    ids=str,
)
def test_serialization(options):
    loss = SupervisedContrastiveLoss(**options)
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    assert restored.get_config() == loss.get_config()
    for name, value in options.items():
        assert getattr(restored, name) == value


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), True, "low"])
def test_bad_temperatures(temperature):
    message = f"`temperature` must be a float > 0. Received: temperature={temperature!r}"
    with pytest.raises(ValueError, match=message):
        SupervisedContrastiveLoss(temperature)


def test_bad_shapes():
    loss = SupervisedContrastiveLoss()
    with pytest.raises(ValueError, match=r"`y_pred` must be embeddings .* shape \(9,\)"):
        loss(LABELS, EMBEDDINGS[:, 0])
    with pytest.raises(ValueError, match=r"`y_true` must be class ids .* shape \(3, 3, 1\)"):
        loss(np.ones((3, 3, 1)), EMBEDDINGS)
