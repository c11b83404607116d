import itertools
import math

import numpy as np
import pytest
from small_tasks import CLASSES, QUERIES, SCALE, check_contract, make_task, naive_best, one_shot

from keras_cmm.methods import ProKeR
from keras_cmm.methods import row_batches as row_batches_module


def naive_kernel(first, second, beta):
    return np.array([[math.exp(-beta * (1 - float(x @ y))) for y in second] for x in first])


def naive_logits(task, queries, beta, penalty):
    """By the eigenvectors of the kernel matrix instead of a linear system."""
    support, texts = task.embeddings.astype("float64"), task.text_embeddings.astype("float64")
    targets = np.array([[float(y == c) for c in range(CLASSES)] for y in task.labels])
    values, vectors = np.linalg.eigh(naive_kernel(support, support, beta))
    residuals = vectors.T @ (targets - support @ texts.T)
    coefficients = vectors @ (residuals * (penalty / (values + penalty))[:, None])
    correction = naive_kernel(queries.astype("float64"), support, beta) @ coefficients
    return SCALE * (queries @ texts.T + correction)


@pytest.mark.parametrize("rows", [(4, 3, 4, 0, 4), (4, 4, 4, 4, 4)])
def test_proker_corrects_the_zero_shot_cosines(rows):
    task = make_task(rows)
    method = ProKeR().fit(task)
    chosen = method.hyperparameters_
    expected = naive_logits(task, QUERIES, chosen["beta"], chosen["lambda"])
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, rtol=1e-4, atol=1e-4)


def test_proker_with_fixed_defaults():
    task = one_shot()
    method = ProKeR().fit(task)
    assert (method.hyperparameters_["beta"], method.hyperparameters_["lambda"]) == (1.0, 0.1)
    expected = naive_logits(task, QUERIES, 1.0, 0.1)
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, rtol=1e-4, atol=1e-4)


def test_proker_searches_the_grid_on_validation():
    task = make_task(validation=True)
    grid = list(itertools.product((0.5, 1.0, 2.0, 4.0, 8.0), (0.03, 0.1, 0.3, 1.0)))
    expected = naive_best(
        task, grid, lambda values: naive_logits(task, task.val_embeddings, *values)
    )
    chosen = ProKeR().fit(task).hyperparameters_
    assert (chosen["beta"], chosen["lambda"]) == expected


def test_batches_do_not_change_the_logits(monkeypatch):
    method = ProKeR().fit(make_task())
    whole = method.predict_logits(QUERIES)
    monkeypatch.setattr(row_batches_module, "_MAX_ENTRIES", 2 * len(make_task().labels))
    np.testing.assert_allclose(method.predict_logits(QUERIES), whole, rtol=1e-5, atol=1e-5)


def test_proker_contract():
    check_contract(ProKeR)
