"""Tasks small enough for loops, and what the tests of several methods check alike."""

import json
from dataclasses import replace

import numpy as np
import pytest

from keras_cmm.methods import METHODS, FewShotTask
from keras_cmm_runtime.errors import InputError

CLASSES, DIM, SCALE = 5, 8, 20.0
EMPTY_CLASS = 3


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype("float32")


CENTRES = unit(np.random.default_rng(2).normal(size=(CLASSES, DIM)))
QUERIES = unit(np.random.default_rng(1).normal(size=(7, DIM)))


def draw(rng, labels):
    return unit(CENTRES[labels] + 0.15 * rng.normal(size=(len(labels), DIM)))


def make_task(rows_per_class=(4, 3, 4, 0, 4), shots=4, validation=False):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), rows_per_class))
    task = FewShotTask(
        embeddings=draw(rng, labels),
        labels=labels,
        text_embeddings=unit(CENTRES + 0.2 * rng.normal(size=(CLASSES, DIM))),
        logit_scale=SCALE,
        shots=shots,
        seed=1,
    )
    if validation:
        val_labels = np.repeat(np.arange(CLASSES), 6)
        task = replace(
            task,
            # Far from the centres, so that hyper-parameters differ in how many they get right.
            val_embeddings=unit(draw(rng, val_labels) + 0.5 * rng.normal(size=(30, DIM))),
            val_labels=val_labels,
            val_source="from the validation pool",
        )
    return task


def one_shot():
    return make_task((1, 1, 1, 1, 1), shots=1)


def check_contract(method_class, tuned=True, **settings):
    """What every peer does: one shot, no rows for a class, empty input, the record, the seed.

    `settings` shorten the training where the accuracy does not matter.
    """
    check_absent_class(method_class())

    def make():
        return method_class(**settings)

    name = method_class.name
    assert METHODS[name] is method_class
    with pytest.raises(InputError, match=f"`{name}` is not fitted yet: call `fit"):
        make().predict_logits(QUERIES)
    with pytest.raises(
        InputError, match=f"must be at least 1 for `{name}`; `zero_shot` needs none. .*: 0"
    ):
        make().fit(make_task((0, 0, 0, 0, 0)))

    for task in [one_shot(), make_task(), make_task(validation=True)]:
        before = {k: v.copy() for k, v in vars(task).items() if isinstance(v, np.ndarray)}
        method = make().fit(task)
        for field, value in before.items():
            np.testing.assert_array_equal(getattr(task, field), value)
        logits = method.predict_logits(QUERIES)
        assert logits.dtype == np.float32
        assert logits.shape == (len(QUERIES), CLASSES)
        assert np.isfinite(logits).all()
        assert method.predict_logits(QUERIES[:0]).shape == (0, CLASSES)
        np.testing.assert_array_equal(make().fit(task).predict_logits(QUERIES), logits)
        record = json.loads(json.dumps(method.hyperparameters_))
        choice = "few-shot validation: " if tuned and task.shots > 1 else "fixed"
        assert record["selection"].startswith(choice)


def check_absent_class(method):
    """Rows of a class without support rows are found by its text, and the other classes still."""
    rng = np.random.default_rng(5)
    classes, modalities = np.eye(DIM)[:CLASSES], np.eye(DIM)[CLASSES : CLASSES + 2]
    labels = np.repeat(np.arange(CLASSES), 20)
    # As in CLIP, what an image shares with all images is as large as what its class gives it.
    rows = unit(classes[labels] + modalities[0] + 0.15 * rng.normal(size=(len(labels), DIM)))
    support = np.flatnonzero((np.arange(len(labels)) % 20 < 4) & (labels != EMPTY_CLASS))
    task = FewShotTask(
        embeddings=rows[support],
        labels=labels[support],
        text_embeddings=unit(classes + modalities[1]),
        logit_scale=SCALE,
        shots=4,
        seed=1,
    )
    hits = method.fit(task).predict_logits(rows).argmax(axis=1) == labels
    assert hits[labels == EMPTY_CLASS].mean() >= 0.8
    assert hits[labels != EMPTY_CLASS].mean() >= 0.8


def check_absent_text_stays(method):
    """Training moves texts, but not the text of the class without support rows."""
    task = make_task()
    moved = np.abs(unit(method.fit(task).weights_) - task.text_embeddings).max(axis=1)
    assert moved[EMPTY_CLASS] < 1e-6
    assert moved.max() > 1e-3


def cross_entropy(logits, labels):
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        total += np.log(np.sum(np.exp(row - row.max()))) + row.max() - row[label]
    return total / len(labels)


def numerical_gradient(loss, parameters):
    """Returns central differences of `loss(parameters)`."""
    gradient = np.zeros_like(parameters)
    for index in np.ndindex(parameters.shape):
        shifted = parameters.copy()
        shifted[index] += 1e-5
        above = loss(shifted)
        shifted[index] -= 2e-5
        gradient[index] = (above - loss(shifted)) / 2e-5
    return gradient


def naive_adam(task, logits_of, parameters, learning_rate, steps):
    """Returns `parameters` after Adam as its paper has it, with a cosine schedule to 0.

    The gradients of the cross-entropy of `logits_of(task.embeddings, parameters)` are numerical.
    """

    def loss(parameters):
        return cross_entropy(logits_of(task.embeddings, parameters), task.labels)

    first, second = np.zeros_like(parameters), np.zeros_like(parameters)
    for step in range(steps):
        gradient = numerical_gradient(loss, parameters)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = learning_rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        # Keras adds epsilon before the bias correction.
        rate *= np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        parameters = parameters - rate * first / (np.sqrt(second) + 1e-7)
    return parameters


def naive_best(task, values, logits_of):
    """Returns the first of `values` whose logits get the most validation rows right."""
    hits = []
    for value in values:
        predicted = [int(np.argmax(row)) for row in logits_of(value)]
        hits.append(sum(p == y for p, y in zip(predicted, task.val_labels, strict=True)))
    assert min(hits) < max(hits), "the values are told apart"
    return values[hits.index(max(hits))]


def naive_means(task):
    """Returns the class means of GDA and LDA: of rows, or else of the text moved by the gap."""
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
