"""The layer against the cosine, written out with loops."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_cmm.layers import ClassPrototypes

pytestmark = pytest.mark.backend_neutral

CLASSES, DIM = 4, 6
TOLERANCE = {"float32": 1e-6, "bfloat16": 1e-2, "float16": 1e-3}


def random_rows(*shape, seed=0):
    """Returns rows that are far from unit length."""
    return (3 * np.random.default_rng(seed).normal(size=shape)).astype("float32")


EMBEDDINGS = random_rows(CLASSES, DIM, seed=1)


def naive_cosine(a, b):
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


@pytest.mark.parametrize("shape", [(DIM,), (5, DIM), (2, 3, DIM), (0, DIM)])
def test_cosines(shape):
    layer = ClassPrototypes.from_embeddings(EMBEDDINGS)
    rows = random_rows(*shape)
    expected = [
        [naive_cosine(row, prototype) for prototype in EMBEDDINGS.tolist()]
        for row in rows.reshape(-1, DIM).tolist()
    ]
    output = layer(rows)
    assert tuple(output.shape) == layer.compute_output_shape(shape) == (*shape[:-1], CLASSES)
    np.testing.assert_allclose(
        ops.convert_to_numpy(output), np.reshape(expected, output.shape), atol=1e-6
    )


def test_prototypes_of_unit_length_need_no_normalisation():
    unit = EMBEDDINGS / np.linalg.norm(EMBEDDINGS, axis=-1, keepdims=True)
    rows = random_rows(5, DIM)
    expected = ops.convert_to_numpy(ClassPrototypes.from_embeddings(EMBEDDINGS)(rows))
    output = ClassPrototypes.from_embeddings(unit, normalize=False)(rows)
    np.testing.assert_allclose(ops.convert_to_numpy(output), expected, atol=1e-6)
    double = ClassPrototypes.from_embeddings(2 * unit, normalize=False)(rows)
    np.testing.assert_allclose(ops.convert_to_numpy(double), 2 * expected, atol=1e-6)


@pytest.mark.parametrize(
    "policy", ["float32", "bfloat16", "float16", "mixed_bfloat16", "mixed_float16"]
)
def test_dtypes(policy):
    layer = ClassPrototypes.from_embeddings(EMBEDDINGS, dtype=policy)
    compute_dtype = policy.removeprefix("mixed_")
    rows = random_rows(5, DIM)
    output = layer(rows)
    assert keras.backend.standardize_dtype(output.dtype) == compute_dtype
    expected = ClassPrototypes.from_embeddings(EMBEDDINGS)(rows)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(output, "float32")),
        ops.convert_to_numpy(expected),
        atol=TOLERANCE[compute_dtype],
    )


def test_norms_do_not_overflow_in_half_precision():
    # The squares sum to 100 * 300**2, far beyond float16's 65504.
    rows = np.full((1, 100), 300.0, dtype="float16")
    output = ClassPrototypes.from_embeddings(rows, dtype="float16")(rows)
    np.testing.assert_allclose(ops.convert_to_numpy(output), [[1.0]], rtol=1e-3)


@pytest.mark.parametrize("embeddings", [EMBEDDINGS, EMBEDDINGS.tolist(), EMBEDDINGS.astype("f2")])
def test_from_embeddings_takes_any_array(embeddings):
    layer = ClassPrototypes.from_embeddings(embeddings)
    assert layer.num_classes == CLASSES
    assert layer.built
    np.testing.assert_allclose(ops.convert_to_numpy(layer.embeddings), EMBEDDINGS, rtol=1e-3)


def test_from_embeddings_takes_a_tensor():
    layer = ClassPrototypes.from_embeddings(ops.convert_to_tensor(EMBEDDINGS))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.embeddings), EMBEDDINGS)


@pytest.mark.parametrize("trainable", [True, False])
def test_trainable_or_frozen(trainable):
    inputs = keras.Input((DIM,))
    layer = ClassPrototypes.from_embeddings(EMBEDDINGS, trainable=trainable)
    # A trainable layer in front: a model without any trained weight would warn.
    model = keras.Model(inputs, layer(keras.layers.Dense(DIM)(inputs)))
    model.compile(optimizer="sgd", loss="mse")
    model.fit(random_rows(8, DIM), np.ones((8, CLASSES)), verbose=0)
    changed = bool((ops.convert_to_numpy(layer.embeddings) != EMBEDDINGS).any())
    assert changed is trainable
    assert bool(layer.trainable_weights) is trainable


def test_zero_vectors_harm_no_weight():
    embeddings = EMBEDDINGS.copy()
    embeddings[2] = 0
    rows = random_rows(4, DIM)
    rows[1] = 0
    inputs = keras.Input((DIM,))
    model = keras.Model(inputs, ClassPrototypes.from_embeddings(embeddings)(inputs))
    model.compile(optimizer="sgd", loss="mse")
    model.fit(rows, np.ones((4, CLASSES)), epochs=2, verbose=0)
    assert np.isfinite(ops.convert_to_numpy(model.trainable_weights[0])).all()
    assert np.isfinite(model.predict(rows, verbose=0)).all()


def test_a_mask_is_passed_on():
    steps = random_rows(2, 3, DIM)
    steps[0, 1:] = 0
    inputs = keras.Input((3, DIM))
    cosines = ClassPrototypes.from_embeddings(EMBEDDINGS)(keras.layers.Masking()(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(cosines))
    expected = [naive_cosine(steps[0, 0], prototype) for prototype in EMBEDDINGS]
    np.testing.assert_allclose(model.predict(steps, verbose=0)[0], expected, atol=1e-6)


def test_initializer():
    layer = ClassPrototypes(CLASSES, embeddings_initializer=keras.initializers.Constant(0.5))
    layer.build((None, DIM))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer.embeddings), np.full((CLASSES, DIM), 0.5)
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"embeddings_initializer": "he_normal", "normalize": False, "name": "texts"},
        {"dtype": "mixed_bfloat16", "trainable": False},
    ],
    ids=str,
)
def test_serialization(options):
    layer = ClassPrototypes(CLASSES, **options)
    restored = keras.layers.deserialize(keras.layers.serialize(layer))
    assert restored.get_config() == layer.get_config()
    assert restored.num_classes == CLASSES
    assert restored.trainable is options.get("trainable", True)
    assert restored.normalize is options.get("normalize", True)


@pytest.mark.parametrize("trainable", [True, False])
def test_save_and_load(tmp_path, trainable):
    inputs = keras.Input((DIM,))
    layer = ClassPrototypes.from_embeddings(EMBEDDINGS, trainable=trainable, name="texts")
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(restored.get_layer("texts").embeddings), EMBEDDINGS
    )
    rows = random_rows(5, DIM)
    np.testing.assert_array_equal(restored.predict(rows, verbose=0), model.predict(rows, verbose=0))


@pytest.mark.parametrize("num_classes", [0, -1, 2.0, None, True, float("inf")])
def test_bad_number_of_classes(num_classes):
    message = f"`num_classes` must be an int >= 1. Received: num_classes={num_classes}"
    with pytest.raises(ValueError, match=message):
        ClassPrototypes(num_classes)


def test_numpy_counts_are_ints_too():
    layer = ClassPrototypes(np.int64(CLASSES))
    assert type(layer.num_classes) is int


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("length", [1e6, 1e-5])
def test_half_precision_rounds_no_prototype(dtype, length):
    """Only directions count, also of prototypes beyond what half precision can hold."""
    layer = ClassPrototypes.from_embeddings(length * EMBEDDINGS, dtype=dtype)
    rows = random_rows(5, DIM)
    expected = [[naive_cosine(row, prototype) for prototype in EMBEDDINGS] for row in rows]
    cosines = ops.convert_to_numpy(ops.cast(layer(rows), "float32"))
    np.testing.assert_allclose(cosines, expected, atol=5e-3 if "b" in dtype else 5e-4)


def test_another_width_is_refused():
    layer = ClassPrototypes.from_embeddings(EMBEDDINGS)
    with pytest.raises(ValueError, match=f"expected axis -1 of input shape to have value {DIM}"):
        layer(random_rows(2, DIM + 1))
    with pytest.raises(ValueError, match="must have a known size"):
        ClassPrototypes(CLASSES).build((None, None))


@pytest.mark.parametrize("shape", [(DIM,), (2, CLASSES, DIM)])
def test_bad_embeddings(shape):
    with pytest.raises(ValueError, match=r"must have shape \(classes, dim\). Received: .* shape"):
        ClassPrototypes.from_embeddings(np.ones(shape))


def test_groups_are_one_layer():
    """Empty places are no classes, and the gradient is that of the rows alone."""
    rows = random_rows(5, DIM)
    plain = ClassPrototypes.from_embeddings(EMBEDDINGS)
    grouped = ClassPrototypes.from_embeddings(EMBEDDINGS, groups=[[1, 0, 1], [0, 1], [1]])
    output = ops.convert_to_numpy(grouped(rows))
    np.testing.assert_allclose(output, ops.convert_to_numpy(plain(rows)), atol=1e-6)
    again = ClassPrototypes.from_config(grouped.get_config())
    assert again.groups == grouped.groups == ((1, 0, 1), (0, 1), (1,))


@pytest.mark.parametrize("groups", [[[1, 1]], [[1] * CLASSES, [0]], [[1] * CLASSES, [1]]])
def test_groups_must_fit(groups):
    with pytest.raises(ValueError, match="one 1 for each of the 4 classes"):
        ClassPrototypes(CLASSES, groups=groups)


def test_set_classes_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="must be built"):
        ClassPrototypes(CLASSES).set_classes(EMBEDDINGS)
    layer = ClassPrototypes.from_embeddings(EMBEDDINGS)
    with pytest.raises(ValueError, match=r"shape \(classes, 6\)"):
        layer.set_classes(EMBEDDINGS[:, :2])
    layer.set_classes(EMBEDDINGS[:2])
    assert layer.num_classes == 2
    assert tuple(layer(EMBEDDINGS).shape) == (CLASSES, 2)
