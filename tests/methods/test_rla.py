import numpy as np
import pytest
from small_tasks import DIM, QUERIES, SCALE, check_contract, cross_entropy, make_task
from trained_in_loops import NaiveAdam

from keras_cmm.methods import RLA


def naive_logits(task, rows, mapping):
    logits = np.empty((len(rows), task.num_classes))
    for i, x in enumerate(rows.astype("float64")):
        mapped = [sum(x[k] * mapping[k, j] for k in range(DIM)) for j in range(DIM)]
        length = np.sqrt(sum(value**2 for value in mapped))
        for c, text in enumerate(task.text_embeddings):
            logits[i, c] = SCALE * sum(m * t for m, t in zip(mapped, text, strict=True)) / length
    return logits


@pytest.mark.parametrize("shots", [1, 4])
def test_rla_trains_the_map_with_a_penalty_of_one_by_shots(shots):
    task = make_task((2, 1, 2, 0, 2), shots=shots)

    def loss(mapping):
        distance = sum((mapping[i, j] - (i == j)) ** 2 for i in range(DIM) for j in range(DIM))
        return cross_entropy(naive_logits(task, task.embeddings, mapping), task.labels) + (
            distance / shots
        )

    adam = NaiveAdam(0.02, steps=6, epsilon=1e-4)
    expected = np.eye(DIM)
    for _ in range(6):
        expected = adam.step(expected, loss)
    method = RLA(learning_rate=0.02, steps=6).fit(task)
    assert np.abs(expected - np.eye(DIM)).max() > 0.05
    np.testing.assert_allclose(method.map_, expected, atol=1e-3)
    logits = method.predict_logits(QUERIES)
    np.testing.assert_allclose(logits, naive_logits(task, QUERIES, expected), atol=0.05)


def test_more_shots_hold_the_map_less():
    far = {}
    for shots in (1, 16):
        method = RLA(learning_rate=0.01, steps=100).fit(make_task(shots=shots))
        far[shots] = np.linalg.norm(method.map_ - np.eye(DIM))
        assert method.hyperparameters_["penalty"] == 1 / shots
    assert far[16] > far[1] > 0


def test_batches_take_all_rows():
    """In one pass of single rows every row moves the map; a class without rows has none."""
    task = make_task((1, 1, 1, 1, 1), shots=1)
    seen = [label for _, (label,) in RLA(batch_size=1)._batches(task, 10)]
    assert sorted(seen[:5]) == sorted(seen[5:]) == [0, 1, 2, 3, 4]
    assert seen[:5] != seen[5:]


def test_rla_contract():
    check_contract(RLA, tuned=False, steps=5)
