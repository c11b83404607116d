import numpy as np
import pytest
from small_tasks import (
    QUERIES,
    SCALE,
    check_contract,
    make_task,
    naive_best,
    naive_gaussian_logits,
    naive_means,
    one_shot,
)

from keras_cmm.methods import GDA


def naive_logits(task, queries, alpha):
    text = SCALE * queries @ task.text_embeddings.T
    return text + alpha * naive_gaussian_logits(task, queries)


@pytest.mark.parametrize("rows", [(4, 3, 4, 0, 4), (4, 4, 4, 4, 4), (1, 1, 1, 0, 1)])
def test_gda_is_the_gaussian_classifier(rows):
    task = make_task(rows, shots=max(rows))
    method = GDA().fit(task)
    expected = naive_logits(task, QUERIES, method.hyperparameters_["alpha"])
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, rtol=1e-4, atol=1e-4)


def test_gda_chooses_alpha_on_validation():
    task = make_task(validation=True)
    alphas = [10.0**power for power in range(-4, 3)]
    expected = naive_best(
        task, alphas, lambda alpha: naive_logits(task, task.val_embeddings, alpha)
    )
    assert GDA().fit(task).hyperparameters_["alpha"] == expected


def test_gda_of_one_row_a_class_is_the_nearest_mean_with_the_text():
    task = one_shot()
    logits = GDA().fit(task).predict_logits(QUERIES) - SCALE * QUERIES @ task.text_embeddings.T
    nearest = [np.argmin([np.sum((x - m) ** 2) for m in naive_means(task)]) for x in QUERIES]
    np.testing.assert_array_equal(logits.argmax(axis=1), nearest)


def test_gda_contract():
    check_contract(GDA)
