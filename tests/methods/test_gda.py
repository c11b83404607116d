import numpy as np
import pytest
from small_tasks import (
    CLASSES,
    DIM,
    QUERIES,
    SCALE,
    check_contract,
    make_task,
    naive_best,
    one_shot,
)

from keras_cmm.methods import GDA


def naive_means(task):
    means = {}
    for label in range(CLASSES):
        rows = [x for x, y in zip(task.embeddings, task.labels, strict=True) if y == label]
        if rows:
            means[label] = sum(row.astype("float64") for row in rows) / len(rows)
    gap = sum(means[label] - task.text_embeddings[label] for label in means) / len(means)
    return [means.get(label, task.text_embeddings[label] + gap) for label in range(CLASSES)]


def naive_gaussian_logits(task, queries):
    """Minus half the Mahalanobis distance, less the part that no class shares."""
    means = naive_means(task)
    centred = np.array([x - means[y] for x, y in zip(task.embeddings, task.labels, strict=True)])
    rows = len(centred)
    covariance = np.zeros((DIM, DIM))
    for row in centred:
        covariance += np.outer(row, row) / max(rows - 1, 1)
    if np.trace(covariance) < 1e-6:
        inverse = np.eye(DIM)
    else:
        inverse = np.linalg.pinv((rows - 1) * covariance + np.trace(covariance) * np.eye(DIM))
    precision = DIM * inverse
    return np.array(
        [
            [-0.5 * (x - m) @ precision @ (x - m) + 0.5 * x @ precision @ x for m in means]
            for x in queries.astype("float64")
        ]
    )


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
