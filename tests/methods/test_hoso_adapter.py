from dataclasses import replace
from functools import partial

import numpy as np
from small_tasks import CLASSES, DIM, QUERIES, check_contract, cross_entropy, make_task, one_shot
from test_clip_adapter import naive_logits, split
from trained_in_loops import NaiveAdam

from keras_cmm.methods import CLIPAdapter, HOSOAdapter
from keras_cmm.recipes import held_out_rows


def start_of(task):
    method = HOSOAdapter(learning_rate=0.0, ratio_learning_rate=0.0, steps=1).fit(task)
    start = np.concatenate([method.first_weights_.ravel(), method.second_weights_.ravel()])
    return start.astype("float64")


def test_hoso_trains_the_adapter_and_the_ratio_on_rows_of_their_own():
    task = make_task((4, 3, 1, 0, 4))
    held_out = held_out_rows(task.labels, task.seed, shots=1)
    assert np.bincount(task.labels[held_out], minlength=CLASSES).tolist() == [1, 1, 0, 0, 1]
    trained, judging = (
        (task.embeddings[rows], task.labels[rows]) for rows in (~held_out, held_out)
    )
    kernels, parameter = start_of(task), np.array([np.log(0.2 / 0.8)])
    adam, ratio_adam = NaiveAdam(0.02, steps=6), NaiveAdam(0.3, steps=6)

    def ratio_of(parameter):
        return 1 / (1 + np.exp(-parameter[0]))

    def loss(rows, labels, kernels, parameter):
        return cross_entropy(naive_logits(task, rows, kernels, ratio_of(parameter)), labels)

    ratios = []
    for _ in range(6):
        kernels = adam.step(kernels, partial(loss, *trained, parameter=parameter))
        parameter = ratio_adam.step(parameter, partial(loss, *judging, kernels))
        ratios.append(ratio_of(parameter))
    method = HOSOAdapter(learning_rate=0.02, ratio_learning_rate=0.3, steps=6).fit(task)
    assert max(abs(ratio - 0.2) for ratio in ratios) > 0.02
    assert np.abs(kernels - start_of(task)).max() > 0.02
    np.testing.assert_allclose(method.ratio_, ratios[-1], atol=2e-3)
    first, second = split(kernels)
    np.testing.assert_allclose(method.first_weights_, first, atol=2e-3)
    np.testing.assert_allclose(method.second_weights_, second, atol=2e-3)
    expected = naive_logits(task, QUERIES, kernels, ratios[-1])
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, atol=0.1)
    assert method.hyperparameters_["selection"].startswith("few-shot validation: 3 rows held out")


def test_at_one_shot_the_ratio_stays():
    method = HOSOAdapter(ratio_learning_rate=1.0, steps=5).fit(one_shot())
    assert method.hyperparameters_["ratio"] == 0.2
    assert method.hyperparameters_["selection"].startswith("fixed")


def test_validation_rows_are_not_used():
    task = make_task(validation=True)
    method = HOSOAdapter(steps=20)
    logits = method.fit(task).predict_logits(QUERIES)
    without = replace(task, val_embeddings=None, val_labels=None)
    np.testing.assert_array_equal(method.fit(without).predict_logits(QUERIES), logits)


def test_it_starts_as_clip_adapter():
    task = one_shot()
    own, other = HOSOAdapter(learning_rate=0.0, steps=1), CLIPAdapter(learning_rate=0.0, epochs=1)
    assert own.fit(task).first_weights_.shape == (DIM, DIM // 4)
    np.testing.assert_allclose(
        own.predict_logits(QUERIES), other.fit(task).predict_logits(QUERIES), atol=1e-5
    )


def test_hoso_adapter_contract():
    check_contract(HOSOAdapter, steps=5)
