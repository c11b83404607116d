import itertools
import math

import numpy as np
import pytest
from small_tasks import (
    CLASSES,
    QUERIES,
    SCALE,
    check_contract,
    make_task,
    naive_best,
    naive_gaussian_logits,
    naive_means,
    one_shot,
)

from keras_cmm.methods import PrototypeMixing


def naive_logits(task, queries, share, mix, weight):
    """The directions by power iteration instead of a singular value decomposition."""
    texts = task.text_embeddings.astype("float64")
    remaining = texts.T @ texts
    directions = []
    for _ in range(math.ceil(share * CLASSES)):
        values, vectors = np.linalg.eigh(remaining)
        directions.append(vectors[:, -1])
        remaining = remaining - values[-1] * np.outer(vectors[:, -1], vectors[:, -1])
    prototypes = []
    for mean, text in zip(naive_means(task), texts, strict=True):
        aligned = sum((mean @ direction) * direction for direction in directions)
        mixed = (1 - mix) * text + mix * aligned / np.sqrt(aligned @ aligned)
        prototypes.append(mixed / np.sqrt(mixed @ mixed))
    return SCALE * queries @ np.transpose(prototypes) + weight * naive_gaussian_logits(
        task, queries
    )


@pytest.mark.parametrize("rows", [(4, 3, 4, 0, 4), (4, 4, 4, 4, 4), (1, 1, 1, 0, 1)])
def test_prototype_mixing_is_its_formula(rows):
    task = make_task(rows, shots=max(rows))
    method = PrototypeMixing().fit(task)
    chosen = method.hyperparameters_
    expected = naive_logits(task, QUERIES, chosen["share"], chosen["mix"], chosen["lda_weight"])
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, rtol=1e-4, atol=1e-3)


def test_prototype_mixing_with_fixed_defaults():
    task = one_shot()
    method = PrototypeMixing().fit(task)
    expected = naive_logits(task, QUERIES, share=1.0, mix=0.5, weight=0.1)
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, rtol=1e-4, atol=1e-3)


def test_prototype_mixing_searches_the_grid_on_validation():
    task = make_task(validation=True)
    grid = list(itertools.product((1.0, 0.5), (0, 0.25, 0.5, 0.75, 1), (0, 0.01, 0.1, 1, 10)))
    expected = naive_best(
        task, grid, lambda values: naive_logits(task, task.val_embeddings, *values)
    )
    chosen = PrototypeMixing().fit(task).hyperparameters_
    assert (chosen["share"], chosen["mix"], chosen["lda_weight"]) == expected


def test_prototype_mixing_contract():
    check_contract(PrototypeMixing)
