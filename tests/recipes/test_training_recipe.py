import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_cmm.models import CMMClassifier
from keras_cmm.recipes import AutoRecipe, TrainingRecipe

pytestmark = pytest.mark.backend_neutral


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
    model = keras.Sequential([keras.layers.Dense(2)])
    model.build((None, 1))
    compile_model = model.compile
    model.compile = lambda **options: compile_model(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options
    )
    recipe = TrainingRecipe(epochs=3, min_steps=1, batch_size=4, max_steps=4)
    assert recipe.train(model, np.ones((24, 1)), np.zeros(24), learning_rate=0.1, seed=1) == 3
    assert int(model.optimizer.iterations) == 3 * 4
    assert float(ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("recipe", [TrainingRecipe(epochs=1, min_steps=2), AutoRecipe(min_steps=2)])
def test_lists_are_taken_as_arrays(recipe):
    texts = np.eye(3, 4, dtype="float32")
    rows, labels = np.eye(3, 4, 1).tolist(), [0, 1, 2]
    head = CMMClassifier.from_text_embeddings(texts)
    recipe.train(head, *recipe.start(head, rows, labels), seed=0)
    assert np.isfinite(head.predict(np.eye(3, 4), verbose=0)).all()
