import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_cmm.models import CMMClassifier
from keras_cmm.recipes import AutoRecipe, TrainingRecipe
from keras_cmm_runtime.errors import InputError


@pytest.mark.parametrize(
    ("rows", "steps", "epochs"),
    [(1, 1, 100), (256, 1, 100), (257, 2, 50), (513, 3, 34), (1024, 4, 30), (4000, 16, 30)],
)
def test_at_least_the_least_number_of_steps(rows, steps, epochs):
    recipe = TrainingRecipe()
    assert recipe.steps_per_epoch(rows) == steps
    assert recipe.epochs_for(rows) == epochs
    assert epochs * steps >= recipe.min_steps
    assert epochs == recipe.epochs or (epochs - 1) * steps < recipe.min_steps


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("learning_rate", -1, "a float >= 0"),
        ("weight_decay", float("nan"), "a float >= 0"),
        ("epochs", 0, "an int >= 1"),
        ("batch_size", 2.5, "an int >= 1"),
        ("max_steps", 0, "an int >= 1"),
        ("min_steps", -1, "an int >= 0"),
    ],
)
def test_values_out_of_range(field, value, expected):
    with pytest.raises(ValueError, match=f"`{field}` must be {expected}. Received: {field}="):
        TrainingRecipe(**{field: value})


def test_every_field_counts():
    recipe = TrainingRecipe(
        learning_rate=0.1, weight_decay=0.2, epochs=5, min_steps=7, batch_size=10
    )
    assert recipe.steps_per_epoch(25) == 3
    assert (recipe.epochs_for(25), recipe.epochs_for(5)) == (5, 7)
    assert recipe.optimizer_for(25).weight_decay == 0.2


@pytest.mark.backend_neutral
@pytest.mark.parametrize("epochs", [None, 2])
def test_the_learning_rate_falls_along_a_cosine(epochs):
    recipe = TrainingRecipe(learning_rate=0.1, epochs=4, min_steps=1, batch_size=10)
    optimizer = recipe.optimizer_for(25, epochs)
    steps = 3 * (epochs or 4)
    variable = keras.Variable(np.zeros(1))
    optimizer.build([variable])
    for step in range(steps + 1):
        rate = float(ops.convert_to_numpy(optimizer.learning_rate))
        expected = 0.1 * 0.5 * (1 + math.cos(math.pi * step / steps))
        assert rate == pytest.approx(expected, abs=1e-7)
        optimizer.apply([ops.ones(1)], [variable])


def test_every_epoch_has_its_most_steps():
    head = CMMClassifier.from_text_embeddings(np.eye(3, 4))
    recipe = TrainingRecipe(learning_rate=0.1, epochs=3, min_steps=1, batch_size=4, max_steps=4)
    history = recipe.fit(head, np.ones((24, 4)), np.zeros(24, "int32"), seed=1, verbose=0)
    assert len(history.history["loss"]) == 3
    assert int(head.optimizer.iterations) == 3 * 4
    assert float(ops.convert_to_numpy(head.optimizer.learning_rate)) == pytest.approx(0, abs=1e-6)


RECIPES = [TrainingRecipe(epochs=1, min_steps=3), AutoRecipe(min_steps=3)]


@pytest.mark.backend_neutral
@pytest.mark.parametrize("recipe", RECIPES)
def test_lists_are_taken_as_arrays(recipe):
    rows, labels = np.eye(3, 4, 1).tolist(), [0, 1, 2]
    head = CMMClassifier.from_text_embeddings(np.eye(3, 4, dtype="float32"))
    recipe.fit(head, rows, labels, verbose=0)
    assert np.isfinite(head.predict(np.eye(3, 4), verbose=0)).all()


def support_set(per_class=4):
    labels = np.tile(np.arange(3), per_class)
    noise = np.random.default_rng(0).normal(size=(len(labels), 4))
    return np.eye(3, 4)[labels] + 0.5 * noise, labels


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_first_fit_calibrates_on_rows_that_were_held_out(recipe):
    x, y = support_set()
    head = CMMClassifier.from_text_embeddings(np.eye(3, 4))
    recipe.fit(head, x, y, calibrate=False, verbose=0)
    assert head.temperature == 1.0
    head = CMMClassifier.from_text_embeddings(np.eye(3, 4))
    history = recipe.fit(head, x, y, verbose=0).history
    assert head.temperature != 1.0
    assert "val_loss" not in history
    temperature = head.temperature
    recipe.fit(head, x, y, verbose=0)
    assert head.temperature == temperature
    recipe.fit(head, x, y, validation_data=(x, (y + 1) % 3), verbose=0)
    assert head.temperature > temperature


@pytest.mark.backend_neutral
@pytest.mark.parametrize("recipe", RECIPES)
def test_one_row_a_class_leaves_none_to_calibrate_on(recipe):
    head = CMMClassifier.from_text_embeddings(np.eye(3, 4))
    recipe.fit(head, *support_set(1), verbose=0)
    assert head.temperature == 1.0


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_row_of_weight_zero_is_as_if_it_were_not_there(recipe):
    x, y = support_set()
    heads = [CMMClassifier.from_text_embeddings(np.eye(3, 4)) for _ in range(2)]
    recipe.fit(heads[0], x, y, sample_weight=np.ones(12), verbose=0)
    doubled = np.concatenate([x, x]), np.concatenate([y, (y + 1) % 3])
    recipe.fit(heads[1], *doubled, sample_weight=np.repeat([1.0, 0.0], 12), verbose=0)
    for one, other in zip(heads[0].get_weights(), heads[1].get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    with pytest.raises(InputError, match="not all 0"):
        recipe.fit(heads[0], x, y, sample_weight=np.zeros(12))


def test_weights_of_samples_and_of_classes_say_the_same():
    x, y = support_set()
    weights = []
    for each in (
        {"class_weight": {0: 3.0, 2: 0.5}},
        {"sample_weight": np.array([3.0, 1.0, 0.5])[y]},
    ):
        head = CMMClassifier.from_text_embeddings(np.eye(3, 4))
        TrainingRecipe(epochs=2, min_steps=2).fit(head, x, y, verbose=0, **each)
        weights.append(head.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.backend_neutral
@pytest.mark.parametrize("recipe", RECIPES)
def test_callbacks_and_compile_arguments_reach_the_head(recipe):
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    head = CMMClassifier.from_text_embeddings(np.eye(3, 4))
    optimizer = keras.optimizers.SGD(0.1)
    arguments = {"optimizer": optimizer, "metrics": ["sparse_categorical_accuracy"]}
    history = recipe.fit(
        head, *support_set(), callbacks=[callback], compile_arguments=arguments, verbose=0
    )
    assert seen == [0, 1, 2]
    assert head.optimizer is optimizer
    assert "sparse_categorical_accuracy" in history.history


def test_the_plain_recipe_adjusts_no_logits():
    x, y = support_set()
    head = CMMClassifier.from_text_embeddings(np.eye(3, 4))
    TrainingRecipe(epochs=1, min_steps=1).fit(head, x[:5], y[:5], verbose=0)
    np.testing.assert_array_equal(head.train_offsets, np.zeros(3))
    AutoRecipe(min_steps=1).fit(head, x[:5], y[:5], verbose=0)
    assert np.abs(head.train_offsets).max() > 0


def test_only_the_seed_decides_the_order():
    x, y = support_set()
    recipe = TrainingRecipe(epochs=2, min_steps=1, batch_size=4)
    kernels = []
    for seed in (1, 1, 2):
        head = CMMClassifier.from_text_embeddings(np.eye(3, 4))
        recipe.fit(head, x, y, seed=seed, verbose=0)
        kernels.append(ops.convert_to_numpy(head.mapping.kernel))
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()
