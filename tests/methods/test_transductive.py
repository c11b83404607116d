import json
import math

import numpy as np
import pytest
from small_tasks import CLASSES, DIM, QUERIES, SCALE, draw, make_task, one_shot, unit

from keras_cmm.methods import METHODS
from keras_cmm.methods.transductive import (
    TRANSDUCTIVE_METHODS,
    EMDirichlet,
    TextGuidedMixture,
)
from keras_cmm_runtime.errors import InputError

EVERY = list(TRANSDUCTIVE_METHODS.values())
IMAGES = draw(np.random.default_rng(4), np.repeat(np.arange(CLASSES), 8))


def naive_softmax(row):
    values = [math.exp(value - max(row)) for value in row]
    return np.array(values) / sum(values)


def log_dirichlet(point, parameters):
    logs = [(a - 1) * math.log(p) - math.lgamma(a) for p, a in zip(point, parameters, strict=True)]
    return math.lgamma(sum(parameters)) + sum(logs)


def most_likely(points, weights):
    """Returns the Dirichlet parameters of largest likelihood, by a general optimiser."""
    from scipy.optimize import minimize

    def loss(logs):
        parameters = np.exp(logs)
        return -sum(w * log_dirichlet(p, parameters) for p, w in zip(points, weights, strict=True))

    found = minimize(loss, np.zeros(CLASSES), method="BFGS", options={"gtol": 1e-7})
    return np.exp(found.x)


def test_em_dirichlet_in_loops():
    task = make_task((2, 2, 2, 1, 2))
    images = IMAGES[::2]

    def features(rows):
        return [naive_softmax(5.0 * task.text_embeddings.astype("float64") @ x) for x in rows]

    support, points = features(task.embeddings), features(images)
    assigned = np.array(points)
    for _ in range(2):
        parameters = []
        for label in range(CLASSES):
            weights = [float(y == label) for y in task.labels] + list(assigned[:, label])
            parameters.append(most_likely(support + points, weights))
        shares = [sum(row[c] for row in assigned) / len(assigned) for c in range(CLASSES)]
        logits = np.array(
            [
                [log_dirichlet(p, parameters[c]) + math.log(shares[c]) for c in range(CLASSES)]
                for p in points
            ]
        )
        assigned = np.array([naive_softmax(row) for row in logits])
    method = EMDirichlet(temperature=5.0, iterations=2, inner_steps=20_000)
    probabilities = [naive_softmax(row) for row in method.predict_logits(task, images)]
    np.testing.assert_allclose(probabilities, assigned, atol=0.02)
    assert (assigned.argmax(axis=1) == np.argmax(probabilities, axis=1)).all()


def naive_mixture(task, images, text_weight):
    images, texts = images.astype("float64"), task.text_embeddings.astype("float64")
    count = len(images)
    text_logits = np.array([[SCALE * float(x @ t) for t in texts] for x in images])
    near = []
    for i in range(count):
        others = sorted((j for j in range(count) if j != i), key=lambda j: -images[i] @ images[j])
        near.append([(j, max(0.0, images[i] @ images[j])) for j in others[:3]])
    assigned = [naive_softmax(row) for row in text_logits]
    for _ in range(10):
        rows = [(x, np.eye(CLASSES)[y]) for x, y in zip(task.embeddings, task.labels, strict=True)]
        rows += list(zip(images, assigned, strict=True))
        weights = sum(z for _, z in rows)
        means = [sum(z[c] * x for x, z in rows) / weights[c] for c in range(CLASSES)]
        variance = sum(z[c] * (x - means[c]) ** 2 for x, z in rows for c in range(CLASSES))
        variance = variance / sum(weights)
        for _ in range(5):
            logits = []
            for i, x in enumerate(images):
                gaussian = [-0.5 * sum((x - mean) ** 2 / variance) for mean in means]
                pull = sum(affinity * assigned[j] for j, affinity in near[i])
                logits.append(text_weight * text_logits[i] + gaussian + pull)
            assigned = [naive_softmax(row) for row in logits]
    return np.array(assigned)


def test_text_guided_mixture_in_loops():
    task = make_task((1, 1, 1, 0, 1), shots=1)
    expected = naive_mixture(task, IMAGES[:15], text_weight=1.0)
    logits = TextGuidedMixture().predict_logits(task, IMAGES[:15])
    np.testing.assert_allclose([naive_softmax(row) for row in logits], expected, atol=2e-3)


def test_the_weight_of_the_texts_is_chosen_with_validation_rows_among_the_images():
    task = make_task(validation=True)
    method = TextGuidedMixture()
    method.predict_logits(task, IMAGES[:10])
    together = np.concatenate([IMAGES[:10], task.val_embeddings])
    hits = {}
    for weight in (0.5, 1.0, 2.0, 4.0, 8.0):
        found = naive_mixture(task, together, weight)[10:].argmax(axis=1)
        hits[weight] = int((found == task.val_labels).sum())
    assert min(hits.values()) < max(hits.values())
    chosen = method.hyperparameters_["text_weight"]
    assert chosen == max(hits, key=hits.get)
    assert method.hyperparameters_["selection"].startswith("few-shot validation: 30 rows")


@pytest.mark.parametrize("method", EVERY)
def test_other_images_help(method):
    """Texts between two classes; the images stand in two clusters."""
    eye = np.eye(DIM, dtype="float32")
    labels = np.repeat([0, 1], 40)
    rng = np.random.default_rng(0)
    rows = unit(3 * eye[labels] + 0.6 * rng.normal(size=(80, DIM)))
    texts = unit(eye[:2] + 0.9 * eye[[1, 0]])
    task = make_one(texts, unit(eye[:2] + 0.1))
    together = method().predict_logits(task, rows).argmax(axis=1)
    alone = [int(method().predict_logits(task, row[None]).argmax()) for row in rows]
    assert (together == labels).mean() > 0.95
    assert (together == labels).mean() >= (np.array(alone) == labels).mean()


def make_one(texts, rows):
    from keras_cmm.methods import FewShotTask

    return FewShotTask(rows, np.array([0, 1]), texts, logit_scale=SCALE, shots=1, seed=1)


@pytest.mark.parametrize("method", EVERY)
def test_the_contract(method):
    assert TRANSDUCTIVE_METHODS[method.name] is method
    assert method.name not in METHODS
    for task in (one_shot(), make_task(), make_task(validation=True)):
        before = {k: v.copy() for k, v in vars(task).items() if isinstance(v, np.ndarray)}
        first, second = method(), method()
        logits = first.predict_logits(task, QUERIES)
        for field, value in before.items():
            np.testing.assert_array_equal(getattr(task, field), value)
        assert logits.dtype == np.float32
        assert logits.shape == (len(QUERIES), CLASSES)
        assert np.isfinite(logits).all()
        np.testing.assert_array_equal(second.predict_logits(task, QUERIES), logits)
        assert first.predict_logits(task, QUERIES[:0]).shape == (0, CLASSES)
        assert np.isfinite(first.predict_logits(task, QUERIES[:1])).all()
        record = json.loads(json.dumps(first.hyperparameters_))
        assert record["selection"].startswith(("fixed", "few-shot validation: "))
    with pytest.raises(InputError, match=f"`{method.name}` needs support rows"):
        method().predict_logits(make_task((0, 0, 0, 0, 0)), QUERIES)
    with pytest.raises(InputError, match="row 0 has only zeros"):
        method().predict_logits(one_shot(), 0 * QUERIES)


@pytest.mark.parametrize("name", ["temperature", "iterations", "inner_steps"])
def test_settings_out_of_range(name):
    for value in (-1, 0, float("nan"), "1"):
        with pytest.raises(InputError, match=f"`{name}` must be an? .* Received: {name}="):
            EMDirichlet(**{name: value})
