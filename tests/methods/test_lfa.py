import dataclasses

import numpy as np
import pytest
from small_tasks import CLASSES, DIM, QUERIES, SCALE, check_contract, make_task, naive_best
from small_tasks import one_shot as make_one_shot
from trained_in_loops import NaiveAdam

from keras_cmm.methods import LFA

BETAS = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]


def naive_start(task, beta):
    """By the polar decomposition of the summed products, from eigenvectors instead of an SVD."""
    product = np.zeros((DIM, DIM))
    for x, y in zip(task.embeddings.astype("float64"), task.labels, strict=True):
        product += np.outer(x, task.text_embeddings[y])
    values, vectors = np.linalg.eigh(product.T @ product)
    inverse_roots = [1 / np.sqrt(value) if value > 1e-9 else 0.0 for value in values]
    orthogonal = product @ (vectors * inverse_roots) @ vectors.T
    return (1 - beta) * orthogonal + beta * np.eye(DIM)


def naive_logits(task, rows, mapping):
    mapped = [x @ mapping for x in rows.astype("float64")]
    return SCALE * np.array(
        [[z @ t / np.sqrt(z @ z) for t in task.text_embeddings] for z in mapped]
    )


def naive_loss(task, mapping):
    texts = task.text_embeddings.astype("float64")
    known = [c for c in range(CLASSES) if c in task.labels]
    total, count = 0.0, 0
    for x, y in zip(task.embeddings.astype("float64"), task.labels, strict=True):
        z = x @ mapping
        z = z / np.sqrt(z @ z)
        distances = {c: np.sqrt(np.sum((z - texts[c]) ** 2)) for c in known}
        for c in sorted(known, key=distances.get)[:3]:
            margin = (1 - texts[c] @ texts[y]) / 4
            total += max(0.0, distances[y] + margin - distances[c])
            count += 1
    return total / count


def test_the_closed_form_start():
    task = make_task()
    for beta in (0.0, 0.4):
        mapping = LFA()._refined(task, beta, steps=0)
        np.testing.assert_allclose(mapping, naive_start(task, beta), atol=1e-5)


def test_the_start_turns_images_onto_their_texts():
    """Where all texts are one rotation of the images, the map is that rotation."""
    task = make_task((4, 4, 4, 4, 4))
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(DIM, DIM)))[0]
    texts = task.text_embeddings
    task = dataclasses.replace(task, embeddings=(texts[task.labels] @ rotation.T).astype("float32"))
    mapping = LFA()._refined(task, beta=0.0, steps=0)
    np.testing.assert_allclose(task.embeddings @ mapping, texts[task.labels], atol=1e-4)


@pytest.mark.parametrize("rows", [(2, 1, 2, 0, 2), (1, 1, 1, 1, 1)])
def test_lfa_minimises_the_ranking_loss(rows):
    task = make_task(rows, shots=2)
    start = naive_start(task, 0.9)
    adam = NaiveAdam(0.02, steps=5, weight_decay=0.1)
    expected = start
    for _ in range(5):
        expected = adam.step(expected, lambda mapping: naive_loss(task, mapping))
    mapping = LFA(learning_rate=0.02, weight_decay=0.1)._refined(task, 0.9, steps=5)
    assert np.abs(expected - start).max() > 0.02
    np.testing.assert_allclose(mapping, expected, atol=2e-3)
    assert naive_loss(task, mapping) < naive_loss(task, start)


def test_lfa_chooses_beta_and_then_the_steps_on_validation():
    task = make_task(validation=True)
    method = LFA(learning_rate=0.01)
    beta = naive_best(
        task, BETAS, lambda beta: naive_logits(task, task.val_embeddings, naive_start(task, beta))
    )
    hits = {}
    for steps in (0, 50, 200, 800):
        logits = naive_logits(task, task.val_embeddings, method._refined(task, beta, steps))
        hits[steps] = np.count_nonzero(logits.argmax(axis=1) == task.val_labels)
    chosen = method.fit(task).hyperparameters_
    assert chosen["beta"] == beta
    assert hits[chosen["steps"]] == max(hits.values())


def test_lfa_with_fixed_defaults():
    task = make_one_shot()
    method = LFA().fit(task)
    chosen = method.hyperparameters_
    assert (chosen["beta"], chosen["steps"]) == (0.9, 200)
    expected = naive_logits(task, QUERIES, method.map_)
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, atol=1e-3)


def test_lfa_contract():
    check_contract(LFA)
