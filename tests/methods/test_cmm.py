"""CMM against its recipe, written out in numpy."""

import math
from dataclasses import replace

import numpy as np
import pytest

from keras_cmm.methods import CMM, FewShotTask, PlainCMM
from keras_cmm.recipes import AutoRecipe, TrainingRecipe, closed_form_start
from keras_cmm_runtime.errors import InputError

CLASSES, DIM, SCALE = 5, 6, 10.0


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def make_task(rows_per_class=(3, 2, 3, 0, 3), seed=1):
    """Return a task in which class 3 has no row."""
    rng = np.random.default_rng(0)
    texts = unit(rng.normal(size=(CLASSES, DIM)))
    labels = rng.permutation(np.repeat(np.arange(CLASSES), rows_per_class))
    rows = unit(texts[labels] + 0.5 * rng.normal(size=(len(labels), DIM)))
    return FewShotTask(
        embeddings=rows.astype("float32"),
        labels=labels,
        text_embeddings=texts.astype("float32"),
        logit_scale=SCALE,
        shots=3,
        seed=seed,
    )


QUERIES = unit(np.random.default_rng(1).normal(size=(7, DIM))).astype("float32")


def naive_similarities(rows, kernel, prototypes):
    return unit(rows + rows @ kernel) @ unit(prototypes).T


def naive_logits(task, rows, kernel, prototypes, alpha):
    similarities = naive_similarities(rows, kernel, prototypes)
    return SCALE * (rows @ task.text_embeddings.astype("float64").T + alpha * similarities)


def naive_objective(task, kernel, prototypes, alpha, margin, triplet_weight):
    rows = task.embeddings.astype("float64")
    similarities = naive_similarities(rows, kernel, prototypes)
    logits = naive_logits(task, rows, kernel, prototypes, alpha)
    total = 0.0
    for logit, similarity, label in zip(logits, similarities, task.labels, strict=True):
        cross_entropy = math.log(sum(math.exp(v) for v in logit)) - logit[label]
        negative = max(similarity[c] for c in range(CLASSES) if c != label)
        triplet = max(0.0, margin - similarity[label] + negative)
        total += cross_entropy + triplet_weight * triplet
    return total / len(task.labels)


def naive_gradient(function, point, delta=1e-6):
    gradient = np.zeros_like(point)
    for index in np.ndindex(point.shape):
        offset = np.zeros_like(point)
        offset[index] = delta
        gradient[index] = (function(point + offset) - function(point - offset)) / (2 * delta)
    return gradient


def naive_training(task, recipe, text, alpha, margin, triplet_weight):
    """Return kernel and prototypes after full-batch AdamW with a cosine schedule."""
    weights = [np.zeros((DIM, DIM)), task.text_embeddings.astype("float64")]
    trained = [0, 1] if text == "trained" else [0]
    first, second = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    for step in range(recipe.epochs):

        def objective(value, number, current=tuple(weights)):
            pair = [value if n == number else current[n] for n in range(2)]
            return naive_objective(task, *pair, alpha, margin, triplet_weight)

        gradients = [
            naive_gradient(lambda value, n=n, f=objective: f(value, n), weights[n]) for n in trained
        ]
        rate = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / recipe.epochs))
        for n, gradient in zip(trained, gradients, strict=True):
            first[n] = 0.9 * first[n] + 0.1 * gradient
            second[n] = 0.999 * second[n] + 0.001 * gradient**2
            mean = first[n] / (1 - 0.9 ** (step + 1))
            spread = np.sqrt(second[n] / (1 - 0.999 ** (step + 1)))
            decayed = weights[n] * (1 - rate * recipe.weight_decay)
            weights[n] = decayed - rate * mean / (spread + 1e-7)
    return weights


@pytest.mark.parametrize(
    ("text", "alpha", "margin", "triplet_weight"),
    [
        pytest.param("trained", 1.0, 0.1, 1.0, marks=pytest.mark.backend_neutral),
        ("frozen", 0.5, 0.4, 2.0),
        ("trained", 2.0, 0.4, 0.0),
    ],
)
def test_the_recipe(text, alpha, margin, triplet_weight):
    task = make_task()
    recipe = TrainingRecipe(learning_rate=0.02, weight_decay=0.1, epochs=6, min_steps=1)
    method = CMM(recipe, margin, triplet_weight, alpha, text).fit(task)
    weights = naive_training(task, recipe, text, alpha, margin, triplet_weight)
    expected = naive_logits(task, QUERIES.astype("float64"), *weights, alpha)
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, atol=2e-2)
    start = naive_logits(task, QUERIES, np.zeros((DIM, DIM)), task.text_embeddings, alpha)
    assert np.abs(expected - start).max() > 0.2


def test_the_record_names_every_value():
    recipe = TrainingRecipe(learning_rate=0.01, weight_decay=0.2, epochs=3, min_steps=8)
    method = CMM(recipe, 0.3, 0.5, alpha=2.0, text="frozen", contrastive_weight=0.25)
    record = method.fit(make_task()).hyperparameters_
    assert record.pop("temperature") == method.temperature_ == method.model_.temperature
    assert record.pop("temperature_from").startswith("few-shot validation")
    assert record == {
        "recipe": "plain",
        "min_steps": 8,
        "max_steps": None,
        "learning_rate": 0.01,
        "text_trust": 1.0,
        "weight_decay": 0.2,
        "epochs": 8,
        "batch_size": 256,
        "margin": 0.3,
        "triplet_weight": 0.5,
        "contrastive_weight": 0.25,
        "alpha": 2.0,
        "text": "frozen",
        "logit_scale": SCALE,
        "clip_weight": 1.0,
        "selection": "fixed",
    }


def test_only_the_seed_decides_the_order():
    def fit(seed):
        recipe = TrainingRecipe(learning_rate=0.02, epochs=2, min_steps=1, batch_size=4)
        return CMM(recipe).fit(make_task(seed=seed)).predict_logits(QUERIES)

    first = fit(1)
    np.random.random()  # noqa: NPY002
    np.testing.assert_array_equal(fit(1), first)
    assert np.abs(fit(2) - first).max() > 1e-4


def test_training_does_not_touch_the_global_generator():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    CMM(TrainingRecipe(epochs=1, min_steps=1)).fit(make_task())
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_classes_of_one_text_are_no_negatives_of_each_other():
    task = make_task()
    texts = task.text_embeddings.copy()
    texts[4] = texts[0]
    method = CMM(TrainingRecipe(epochs=1)).fit(replace(task, text_embeddings=texts))
    assert method.model_.triplet_loss.duplicate_groups == [[0, 4]]


def test_a_support_set_of_one_row():
    logits = CMM().fit(make_task((0, 1, 0, 0, 0))).predict_logits(QUERIES)
    assert np.isfinite(logits).all()


def test_an_empty_support_set_is_refused():
    with pytest.raises(InputError, match="must be at least 1 for `cmm`; `zero_shot` needs none"):
        CMM().fit(make_task((0, 0, 0, 0, 0)))


def test_bad_text():
    with pytest.raises(InputError, match=r'`text` must be "trained" or "frozen". .*: \'tuned\''):
        CMM(text="tuned")


def test_bad_recipe():
    with pytest.raises(InputError, match=r'`recipe` must be "auto", "plain" or .*: \'best\''):
        CMM(recipe="best")


def test_the_default_recipe_sets_alpha_itself():
    for recipe in ("auto", AutoRecipe()):
        with pytest.raises(InputError, match="`alpha` must be None with the recipe"):
            CMM(recipe, alpha=2.0)


def test_without_calibration_the_logits_are_the_same():
    task = make_task()
    method = CMM(calibrate=False).fit(task)
    assert method.temperature_ == 1.0
    np.testing.assert_array_equal(
        method.predict_logits(QUERIES), CMM().fit(task).predict_logits(QUERIES)
    )


def test_the_default_recipe_starts_in_closed_form_and_the_plain_one_at_the_texts():
    task = make_task()
    auto = CMM(AutoRecipe(min_steps=1, learning_rate=1e-9)).fit(task)
    start = closed_form_start(task.embeddings, task.labels, task.text_embeddings)
    kernel = np.asarray(auto.model_.mapping.kernel.numpy()) + np.eye(DIM)
    np.testing.assert_allclose(kernel, start.transform, atol=1e-5)
    assert CMM().fit(task).hyperparameters_["recipe"] == "auto"
    assert PlainCMM().fit(task).hyperparameters_["recipe"] == "plain"


def test_the_temperature_changes_no_prediction_and_is_not_fitted_on_training_rows():
    one_shot = CMM().fit(make_task((1, 1, 1, 1, 1)))
    assert one_shot.temperature_ == 1.0
    task = make_task()
    validated = replace(
        task, val_embeddings=QUERIES, val_labels=np.arange(len(QUERIES)) % 5, val_source="wrong"
    )
    recipe = AutoRecipe(text_trust=1.0)
    method = CMM(recipe).fit(validated)
    # Labels that the classifier cannot know: no confidence is right.
    assert method.temperature_ > 2.0
    np.testing.assert_array_equal(
        method.predict_logits(QUERIES), CMM(recipe).fit(task).predict_logits(QUERIES)
    )
