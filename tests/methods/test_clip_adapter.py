from dataclasses import replace

import numpy as np
from small_tasks import DIM, QUERIES, check_contract, make_task, naive_adam, naive_best, one_shot

from keras_cmm.methods import CLIPAdapter

BOTTLENECK = DIM // 4


def split(parameters):
    first, second = parameters[: DIM * BOTTLENECK], parameters[DIM * BOTTLENECK :]
    return first.reshape(DIM, BOTTLENECK), second.reshape(BOTTLENECK, DIM)


def naive_logits(task, rows, parameters, ratio):
    first, second = split(parameters)
    logits = np.empty((len(rows), task.num_classes))
    for i, x in enumerate(rows.astype("float64")):
        hidden = [max(0.0, x @ first[:, unit]) for unit in range(BOTTLENECK)]
        adapted = [max(0.0, np.array(hidden) @ second[:, unit]) for unit in range(DIM)]
        mixed = [ratio * a + (1 - ratio) * b for a, b in zip(adapted, x, strict=True)]
        length = np.sqrt(sum(value**2 for value in mixed))
        for c in range(task.num_classes):
            logits[i, c] = task.logit_scale * sum(
                m / length * t for m, t in zip(mixed, task.text_embeddings[c], strict=True)
            )
    return logits


def start_of(task):
    """Returns the weights before training: a rate of 0 leaves them there."""
    method = CLIPAdapter(learning_rate=0.0, epochs=1).fit(task)
    start = np.concatenate([method.first_weights_.ravel(), method.second_weights_.ravel()])
    return start.astype("float64")


def naive_train(task, ratio, learning_rate, steps):
    def logits_of(rows, parameters):
        return naive_logits(task, rows, parameters, ratio)

    return naive_adam(task, logits_of, start_of(task), learning_rate, steps)


def test_clip_adapter_trains_the_bottleneck():
    task = one_shot()
    method = CLIPAdapter(learning_rate=0.02, epochs=5).fit(task)
    assert method.hyperparameters_["ratio"] == 0.2
    trained = naive_train(task, 0.2, learning_rate=0.02, steps=5)
    assert np.abs(trained - start_of(task)).max() > 0.02
    first, second = split(trained)
    np.testing.assert_allclose(method.first_weights_, first, atol=1e-4)
    np.testing.assert_allclose(method.second_weights_, second, atol=1e-4)
    expected = naive_logits(task, QUERIES, trained, 0.2)
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, atol=5e-3)


def test_clip_adapter_chooses_the_ratio_on_validation():
    task = make_task(validation=True)
    expected = naive_best(
        task,
        [0.2, 0.4, 0.6, 0.8],
        lambda ratio: naive_logits(
            task, task.val_embeddings, naive_train(task, ratio, 0.02, steps=3), ratio
        ),
    )
    chosen = CLIPAdapter(learning_rate=0.02, epochs=3).fit(task).hyperparameters_["ratio"]
    assert chosen == expected


def test_the_start_depends_on_the_seed():
    task = one_shot()
    other = replace(task, seed=2)
    assert (start_of(task) != start_of(other)).any()


def test_clip_adapter_contract():
    check_contract(CLIPAdapter, epochs=5)


def test_it_is_trained_for_no_more_than_max_steps():
    assert CLIPAdapter().max_steps == 1200
    method = CLIPAdapter(batch_size=2, epochs=100, max_steps=9).fit(one_shot())
    assert method.hyperparameters_["epochs"] == 9 // 3  # steps an epoch
