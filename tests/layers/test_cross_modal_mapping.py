"""The layer against its formula, written out with loops."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_cmm.layers import CrossModalMapping

pytestmark = pytest.mark.backend_neutral

DIM = 6
RTOL = {"float32": 1e-5, "bfloat16": 3e-2, "float16": 5e-3}
OPTIONS = [
    {"residual": residual, "use_bias": use_bias, "normalize": normalize, "rank": rank}
    for residual, use_bias, normalize, rank in itertools.product(
        (True, False), (True, False), (True, False), (None, 2)
    )
] + [{"residual": False, "units": 4}, {"residual": False, "units": 4, "rank": 3}]


def built_layer(seed=0, dim=DIM, **options):
    """Returns a layer whose weights are all random, so that every one shows in the output."""
    layer = CrossModalMapping(**options)
    layer.build((None, dim))
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def naive(layer, row):
    """Returns the output for one row, as a list."""
    weights = {weight.name: ops.convert_to_numpy(weight).tolist() for weight in layer.weights}

    def times(vector, matrix):
        return [
            sum(vector[i] * matrix[i][j] for i in range(len(matrix))) for j in range(len(matrix[0]))
        ]

    if layer.rank is None:
        output = times(row, weights["kernel"])
    else:
        output = times(times(row, weights["down_kernel"]), weights["up_kernel"])
    if layer.use_bias:
        output = [value + bias for value, bias in zip(output, weights["bias"], strict=True)]
    if layer.residual:
        output = [value + own for value, own in zip(output, row, strict=True)]
    if layer.normalize:
        length = math.sqrt(sum(value**2 for value in output))
        output = [value / length for value in output]
    return output


def random_rows(*shape, dtype="float32"):
    return np.random.default_rng(7).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_formula(options):
    layer = built_layer(**options)
    rows = random_rows(5, DIM)
    expected = [naive(layer, row.tolist()) for row in rows]
    np.testing.assert_allclose(ops.convert_to_numpy(layer(rows)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(DIM,), (2, 3, DIM), (0, DIM)])
def test_leading_axes(shape):
    layer = built_layer(residual=False, units=4)
    rows = random_rows(*shape)
    expected = np.reshape([naive(layer, row) for row in rows.reshape(-1, DIM)], (*shape[:-1], 4))
    output = layer(rows)
    assert tuple(output.shape) == layer.compute_output_shape(shape) == (*shape[:-1], 4)
    np.testing.assert_allclose(ops.convert_to_numpy(output), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"rank": 2}, {"use_bias": True}, {"residual": False}], ids=str
)
def test_a_new_layer_returns_its_input_at_unit_length(options):
    rows = random_rows(5, DIM)
    unit = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    output = ops.convert_to_numpy(CrossModalMapping(**options)(rows))
    np.testing.assert_allclose(output, unit, rtol=1e-5, atol=1e-6)


def test_a_new_layer_without_normalisation_returns_its_input():
    rows = random_rows(5, DIM)
    output = ops.convert_to_numpy(CrossModalMapping(normalize=False)(rows))
    np.testing.assert_array_equal(output, rows)


def test_integers_are_mapped_as_the_same_floats():
    layer = CrossModalMapping()
    rows = np.arange(1, 7).reshape(2, 3)
    floats = ops.convert_to_numpy(layer(rows.astype("float32")))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(rows)), floats)


def test_low_rank_trains_fewer_values():
    layer = built_layer(residual=False, units=4, rank=3)
    assert layer.count_params() == 3 * (DIM + 4)
    assert built_layer(residual=False, units=4).count_params() == DIM * 4


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("rank", [None, 2])
def test_half_precision(policy, rank):
    layer = built_layer(dtype=policy, rank=rank)
    compute_dtype = policy.removeprefix("mixed_")
    rows = random_rows(5, DIM)
    output = layer(rows)
    assert keras.backend.standardize_dtype(output.dtype) == compute_dtype
    expected = [naive(layer, row.tolist()) for row in rows]
    output = ops.convert_to_numpy(ops.cast(output, "float32"))
    np.testing.assert_allclose(output, expected, atol=RTOL[compute_dtype])


def test_norms_do_not_overflow_in_half_precision():
    # The squares sum to 100 * 300**2, far beyond float16's 65504.
    rows = np.full((1, 100), 300.0, dtype="float16")
    output = CrossModalMapping(dtype="float16")(rows)
    np.testing.assert_allclose(ops.convert_to_numpy(output), np.full((1, 100), 0.1), rtol=1e-3)


def test_a_zero_row_harms_no_weight():
    inputs = keras.Input((DIM,))
    model = keras.Model(inputs, CrossModalMapping(use_bias=True, rank=2)(inputs))
    model.compile(optimizer="sgd", loss="mse")
    rows = random_rows(4, DIM)
    rows[1] = 0
    model.fit(rows, random_rows(4, DIM), epochs=2, verbose=0)
    for weight in model.trainable_weights:
        assert np.isfinite(ops.convert_to_numpy(weight)).all()


def test_another_width_is_refused():
    with pytest.raises(ValueError, match=f"expected axis -1 of input shape to have value {DIM}"):
        built_layer()(random_rows(2, DIM + 1))


@pytest.mark.parametrize("rank", [None, 2])
def test_regularizer(rank):
    layer = built_layer(rank=rank, kernel_regularizer=keras.regularizers.L2(0.1))
    kernels = [weight for weight in layer.weights if "kernel" in weight.name]
    assert len(kernels) == (1 if rank is None else 2)
    expected = 0.1 * sum((ops.convert_to_numpy(kernel) ** 2).sum() for kernel in kernels)
    layer(random_rows(2, DIM))
    total = sum(float(ops.convert_to_numpy(loss)) for loss in layer.losses)
    assert total == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("rank", [None, 2])
def test_initializer(rank):
    layer = CrossModalMapping(rank=rank, kernel_initializer=keras.initializers.Constant(0.5))
    layer.build((None, DIM))
    kernel = layer.kernel if rank is None else layer.up_kernel
    np.testing.assert_array_equal(ops.convert_to_numpy(kernel), np.full(kernel.shape, 0.5))


def test_a_mask_is_passed_on():
    steps = random_rows(2, 3, DIM)
    steps[0, 1:] = 0
    inputs = keras.Input((3, DIM))
    mapped = CrossModalMapping()(keras.layers.Masking()(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(mapped))
    unit = steps / np.maximum(np.linalg.norm(steps, axis=-1, keepdims=True), 1e-6)
    output = model.predict(steps, verbose=0)
    np.testing.assert_allclose(output, [unit[0, 0], unit[1].mean(axis=0)], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        *OPTIONS,
        {"kernel_initializer": "he_normal", "kernel_regularizer": "l2", "name": "map"},
        {"dtype": "mixed_bfloat16", "trainable": False},
    ],
    ids=str,
)
def test_serialization(options):
    layer = CrossModalMapping(**options)
    config = keras.layers.serialize(layer)
    restored = keras.layers.deserialize(config)
    assert restored.get_config() == layer.get_config()
    for name, value in options.items():
        if name in ("residual", "use_bias", "normalize", "rank", "units"):
            assert getattr(restored, name) == value


@pytest.mark.parametrize("rank", [None, 2])
def test_save_and_load(tmp_path, rank):
    layer = built_layer(use_bias=True, rank=rank)
    inputs = keras.Input((DIM,))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    rows = random_rows(5, DIM)
    np.testing.assert_array_equal(restored.predict(rows, verbose=0), model.predict(rows, verbose=0))


@pytest.mark.parametrize("rank", [None, DIM])
def test_fit_finds_a_rotation(rank):
    rows = random_rows(64, DIM)
    rotation, _ = np.linalg.qr(random_rows(DIM, DIM))
    targets = rows @ rotation
    targets /= np.linalg.norm(targets, axis=-1, keepdims=True)
    model = keras.Sequential([CrossModalMapping(rank=rank)])
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse")
    losses = model.fit(rows, targets, batch_size=64, epochs=150, verbose=0).history["loss"]
    assert losses[-1] < 0.02 * losses[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "`units` must be an int >= 1 or None. Received: units=0"),
        ({"units": 2.5}, "`units` must be an int >= 1 or None. Received: units=2.5"),
        ({"rank": True}, "`rank` must be an int >= 1 or None. Received: rank=True"),
        ({"rank": -1}, "`rank` must be an int >= 1 or None. Received: rank=-1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CrossModalMapping(**arguments)


def test_bad_shapes():
    with pytest.raises(ValueError, match="`units` must equal the width of the input with"):
        CrossModalMapping(units=4).build((None, DIM))
    with pytest.raises(ValueError, match="must have a known size"):
        CrossModalMapping().build((4, None))


def test_a_second_encoder_starts_without_a_part_in_the_output():
    inputs = np.random.default_rng(0).normal(size=(4, 7)).astype("float32")
    layer = CrossModalMapping(also_dim=3)
    clip_part = inputs[:, :4]
    expected = clip_part / np.linalg.norm(clip_part, axis=1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(inputs)), expected, atol=1e-6)
    assert layer.compute_output_shape((None, 7)) == (None, 4)
    assert [weight.name for weight in layer.non_trainable_weights] == ["also_weight"]


@pytest.mark.parametrize("rank", [None, 2])
def test_a_second_encoder_is_mapped_beside_clip(rank):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(4, 7)).astype("float32")
    layer = CrossModalMapping(also_dim=3, rank=rank, use_bias=True)
    layer.build((None, 7))
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    layer.also_weight.assign(0.25)
    clip, also = (
        part / np.linalg.norm(part, axis=1, keepdims=True)
        for part in (inputs[:, :4], inputs[:, 4:])
    )
    kernels = [ops.convert_to_numpy(weight) for weight in layer.trainable_weights]
    *kernels, bias = kernels
    kernel = kernels[0] if rank is None else kernels[0] @ kernels[1]
    expected = clip + np.concatenate([clip, 0.25 * also], axis=1) @ kernel + bias
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(inputs)), expected, atol=1e-5)
    # The lengths of the parts do not matter, of each by itself.
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(inputs * [3, 3, 3, 3, 0.1, 0.1, 0.1])), expected, atol=1e-5
    )
    again = CrossModalMapping.from_config(layer.get_config())
    assert again.also_dim == 3


@pytest.mark.parametrize("also_dim", [-1, 1.5, True])
def test_a_width_of_the_second_encoder_that_is_none(also_dim):
    with pytest.raises(ValueError, match="`also_dim` must be an int >= 0"):
        CrossModalMapping(also_dim=also_dim)


def test_a_second_encoder_leaves_clip_a_part_of_the_input():
    with pytest.raises(ValueError, match="`also_dim` must be less than the width"):
        CrossModalMapping(also_dim=7).build((None, 7))
    with pytest.raises(ValueError, match="`units` must equal the width"):
        CrossModalMapping(units=7, also_dim=3).build((None, 7))
