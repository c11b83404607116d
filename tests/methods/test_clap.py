import numpy as np
import pytest
from small_tasks import (
    CLASSES,
    QUERIES,
    SCALE,
    check_absent_text_stays,
    check_contract,
    cross_entropy,
    make_task,
    numerical_gradient,
    unit,
)

from keras_cmm.methods import CLAP

LENGTH = 4.0


def naive_logits(rows, prototypes):
    return np.array(
        [
            [SCALE * float(x @ p) / np.linalg.norm(p) for p in prototypes]
            for x in rows.astype("float64")
        ]
    )


def naive_multipliers(task):
    multipliers = []
    logits = naive_logits(task.embeddings, task.text_embeddings.astype("float64"))
    for label in range(CLASSES):
        own = [
            np.exp(row[label]) / np.sum(np.exp(row))
            for row, y in zip(logits, task.labels, strict=True)
            if y == label
        ]
        multipliers.append(np.mean(own) if own else 0.0)
    return np.array(multipliers)


def naive_prototypes(task, learning_rate, steps):
    """SGD on texts of the length 4, as the authors train them, not on unit rows."""
    texts = LENGTH * task.text_embeddings.astype("float64")
    multipliers = naive_multipliers(task)
    trained = np.isin(np.arange(CLASSES), task.labels)[:, None]

    def loss(prototypes):
        distances = np.sum((prototypes - texts) ** 2, axis=1)
        return cross_entropy(naive_logits(task.embeddings, prototypes), task.labels) + np.mean(
            multipliers * distances
        )

    prototypes, velocity = texts.copy(), np.zeros_like(texts)
    for step in range(steps):
        rate = learning_rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        velocity = 0.9 * velocity - rate * trained * numerical_gradient(loss, prototypes)
        prototypes = prototypes + velocity
    return prototypes


@pytest.mark.parametrize("rows", [(4, 4, 4, 4, 4), (4, 3, 4, 0, 4), (1, 1, 1, 1, 1)])
def test_clap_trains_the_prototypes(rows):
    task = make_task(rows, shots=max(rows))
    method = CLAP(learning_rate=0.5, text_length=LENGTH, epochs=8).fit(task)
    expected = naive_prototypes(task, learning_rate=0.5, steps=8)
    assert np.abs(unit(expected) - task.text_embeddings).max() > 0.05
    np.testing.assert_allclose(
        method.predict_logits(QUERIES), naive_logits(QUERIES, expected), atol=5e-3
    )
    np.testing.assert_allclose(
        method.hyperparameters_["mean_multiplier"], np.mean(naive_multipliers(task)), rtol=1e-5
    )


def test_the_penalty_holds_the_prototypes():
    task = make_task()
    far, near = (
        unit(CLAP(text_length=length, epochs=50).fit(task).weights_) for length in (3.0, 10.0)
    )
    distances = [np.linalg.norm(w - task.text_embeddings) for w in (far, near)]
    assert distances[0] > distances[1] > 0


def test_the_text_of_an_absent_class_stays():
    check_absent_text_stays(CLAP(epochs=10))


def test_validation_rows_change_nothing():
    logits = [
        CLAP(epochs=10).fit(make_task(validation=validation)).predict_logits(QUERIES)
        for validation in (True, False)
    ]
    np.testing.assert_array_equal(*logits)


def test_clap_contract():
    check_contract(CLAP, tuned=False, epochs=5)
