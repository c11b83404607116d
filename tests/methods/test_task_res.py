import numpy as np
import pytest
from small_tasks import (
    QUERIES,
    check_absent_text_stays,
    check_contract,
    make_task,
    naive_adam,
    naive_best,
    one_shot,
)

from keras_cmm.methods import TaskRes
from keras_cmm.methods.residual_texts import ResidualTexts


def naive_logits(task, rows, residuals, alpha):
    logits = np.empty((len(rows), task.num_classes))
    for i, x in enumerate(rows.astype("float64")):
        for c in range(task.num_classes):
            factor = alpha if c in task.labels else 0.0
            prototype = task.text_embeddings[c].astype("float64") + factor * residuals[c]
            logits[i, c] = task.logit_scale * float(x @ prototype) / np.sqrt(np.sum(prototype**2))
    return logits


@pytest.mark.parametrize("rows", [(1, 1, 1, 1, 1), (1, 1, 1, 0, 1)])
def test_task_res_trains_the_residuals(rows):
    task = make_task(rows, shots=1)
    method = TaskRes(learning_rate=0.05, epochs=5).fit(task)
    residuals = naive_adam(
        task,
        lambda rows, residuals: naive_logits(task, rows, residuals, alpha=0.5),
        np.zeros(task.text_embeddings.shape),
        learning_rate=0.05,
        steps=5,
    )
    assert method.hyperparameters_["alpha"] == 0.5
    assert np.abs(residuals).max() > 0.05
    expected = naive_logits(task, QUERIES, residuals, alpha=0.5)
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, atol=2e-2)


def test_task_res_chooses_alpha_on_validation():
    task = make_task(validation=True)
    hyperparameters = {"learning_rate": 0.05, "epochs": 10}

    def logits_of(alpha):
        # Adam's steps do not depend on the scale of the gradient: alpha * R of rate r is R of rate
        # alpha * r. At one shot alpha is 0.5, so the rate stands in for it.
        fixed = make_task()
        rate = hyperparameters["learning_rate"] * alpha / 0.5
        method = TaskRes(rate, hyperparameters["epochs"])
        model = ResidualTexts(fixed, 0.5)
        method._train(model, fixed)
        return task.val_embeddings @ model.weights_with_scale().T

    expected = naive_best(task, [0.1, 0.5, 1.0, 2.0], logits_of)
    assert TaskRes(**hyperparameters).fit(task).hyperparameters_["alpha"] == expected


def test_the_text_of_an_absent_class_stays():
    check_absent_text_stays(TaskRes())


def test_a_large_support_set_gets_fewer_epochs():
    method = TaskRes(batch_size=2, epochs=100, max_steps=9).fit(one_shot())
    assert method.hyperparameters_["epochs"] == 3


def test_task_res_contract():
    check_contract(TaskRes, epochs=5)
