"""Every peer against its formula, written out with loops."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from small_tasks import CLASSES, DIM, EMPTY_CLASS, QUERIES, SCALE, make_task, unit

from keras_cmm.methods import (
    CMM,
    METHODS,
    FewShotTask,
    LinearProbe,
    NearestMean,
    PlainCMM,
    TipAdapter,
    TipAdapterF,
    ZeroShot,
)
from keras_cmm.methods import row_batches as row_batches_module
from keras_cmm_runtime.errors import InputError

# The other peers have a file of tests each.
HERE = [CMM, PlainCMM, ZeroShot, NearestMean, LinearProbe, TipAdapter, TipAdapterF]


def naive_cache_logits(query, keys, labels, alpha, beta, task):
    logits = []
    for label in range(task.num_classes):
        logit = task.logit_scale * float(query @ task.text_embeddings[label])
        for key, key_label in zip(keys, labels, strict=True):
            if key_label == label:
                logit += alpha * math.exp(-beta * (1 - float(query @ key)))
        logits.append(logit)
    return logits


def naive_search(task, keys):
    """Returns (alpha, beta) of the first grid point with the most validation hits, beta outer."""
    best, best_hits = None, -1
    for beta in np.linspace(0.1, 13.0, 40):
        for alpha in np.linspace(0.1, 13.0, 40):
            hits = 0
            for query, label in zip(task.val_embeddings, task.val_labels, strict=True):
                logits = naive_cache_logits(query, keys, task.labels, alpha, beta, task)
                hits += int(np.argmax(logits)) == label
            if hits > best_hits:
                best, best_hits = (alpha, beta), hits
    return best


def test_zero_shot():
    task = make_task()
    expected = [[SCALE * float(x @ t) for t in task.text_embeddings] for x in QUERIES]
    logits = ZeroShot().fit(task).predict_logits(QUERIES)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-4)


def test_nearest_mean_falls_back_to_the_text():
    task = make_task()
    weights = []
    for label in range(CLASSES):
        rows = [x for x, y in zip(task.embeddings, task.labels, strict=True) if y == label]
        mean = np.mean(rows, axis=0) if rows else task.text_embeddings[label]
        weights.append(mean / np.linalg.norm(mean))
    logits = NearestMean().fit(task).predict_logits(QUERIES)
    np.testing.assert_allclose(logits, SCALE * QUERIES @ np.array(weights).T, rtol=1e-5, atol=1e-4)


def test_nearest_mean_of_opposite_rows():
    eye = np.eye(2, dtype="float32")
    rows = np.array([[1, 0], [-1, 0]], dtype="float32")
    task = FewShotTask(rows, np.array([0, 0]), eye, SCALE, shots=2, seed=1)
    np.testing.assert_allclose(NearestMean().fit(task).predict_logits(eye), SCALE * eye)


def linear_probe_objective(method, task):
    """Returns C * summed cross-entropy + half the squared norm of the weights."""
    logits = method.predict_logits(task.embeddings)
    loss = 0.0
    for row, label in zip(logits.astype("float64"), task.labels, strict=True):
        loss -= row[label] - row.max() - math.log(sum(math.exp(v - row.max()) for v in row))
    return method.hyperparameters_["C"] * loss + 0.5 * float((method.weights_**2).sum())


def test_linear_probe_minimises_the_penalised_cross_entropy():
    task = make_task()
    method = LinearProbe().fit(task)
    lowest = linear_probe_objective(method, task)
    rng = np.random.default_rng(0)
    weights, bias = method.weights_, method.bias_
    for _ in range(20):
        method.weights_ = weights + 0.05 * rng.normal(size=weights.shape).astype("float32")
        method.bias_ = bias + 0.05 * rng.normal(size=bias.shape).astype("float32")
        assert linear_probe_objective(method, task) > lowest


def test_linear_probe_refits_from_zero_on_the_whole_support_set():
    from sklearn.linear_model import LogisticRegression

    task = make_task()
    method = LinearProbe().fit(task)
    expected = LogisticRegression(C=method.hyperparameters_["C"]).fit(task.embeddings, task.labels)
    assert "held out" in method.hyperparameters_["selection"]
    present = np.unique(task.labels)
    np.testing.assert_allclose(method.weights_[present], expected.coef_, rtol=1e-5, atol=1e-6)


def test_linear_probe_takes_the_smallest_of_equally_good_penalties():
    eye = np.eye(3, dtype="float32")
    task = FewShotTask(eye, np.arange(3), eye, SCALE, 1, 1, eye, np.arange(3))
    method = LinearProbe().fit(task)
    assert method.hyperparameters_["C"] == 1.0


def test_linear_probe_with_two_classes_is_the_same_softmax():
    task = make_task(rows_per_class=(4, 0, 4, 0, 0))
    method = LinearProbe().fit(task)
    logits = method.predict_logits(QUERIES)
    assert logits.shape == (7, CLASSES)
    assert set(logits.argmax(axis=1)) <= {0, 2}
    np.testing.assert_array_equal(logits[:, [1, 3, 4]], -1e4)
    hits = method.predict_logits(task.embeddings).argmax(axis=1) == task.labels
    assert hits.mean() >= 0.75


@pytest.mark.parametrize("has_validation", [True, False])
def test_linear_probe_at_one_shot_of_many_classes_does_not_warn(has_validation):
    """scikit-learn takes so many classes for a regression; warnings are errors here."""
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(40, DIM)))
    validation = (rows, np.arange(40)) if has_validation else (None, None)
    task = FewShotTask(rows, np.arange(40), rows, SCALE, 1, 1, *validation)
    assert (LinearProbe().fit(task).predict_logits(rows).argmax(axis=1) == np.arange(40)).all()


def test_linear_probe_never_predicts_an_absent_class():
    logits = LinearProbe().fit(make_task()).predict_logits(QUERIES)
    assert (logits[:, EMPTY_CLASS] == -1e4).all()
    assert (np.delete(logits, EMPTY_CLASS, axis=1) > -1e3).all()


def test_linear_probe_chooses_the_penalty_on_validation():
    task = make_task(validation=True)
    from sklearn.linear_model import LogisticRegression

    hits = {}
    for penalty in (1.0, 10.0, 100.0):
        # Cold starts: at convergence the path does not matter.
        regression = LogisticRegression(C=penalty, max_iter=1000, tol=1e-6)
        regression.fit(task.embeddings, task.labels)
        hits[penalty] = regression.score(task.val_embeddings, task.val_labels)
    chosen = LinearProbe().fit(task).hyperparameters_["C"]
    assert hits[chosen] == max(hits.values())


@pytest.mark.parametrize("rows", [(0, 0, 0, 0, 0), (4, 0, 0, 0, 0)])
def test_linear_probe_needs_two_classes(rows):
    with pytest.raises(InputError, match="must be at least 2 for `linear_probe`"):
        LinearProbe().fit(make_task(rows))


@pytest.mark.parametrize("method", [TipAdapter, TipAdapterF])
def test_tip_adapter_needs_a_support_row(method):
    with pytest.raises(InputError, match="must be at least 1 for `tip_adapter"):
        method().fit(make_task((0, 0, 0, 0, 0)))


def test_tip_adapter_with_fixed_defaults():
    task = make_task(rows_per_class=(1, 1, 1, 0, 1), shots=1)
    method = TipAdapter().fit(task)
    assert (method.alpha_, method.beta_) == (1.0, 5.5)
    expected = [
        naive_cache_logits(x, task.embeddings, task.labels, 1.0, 5.5, task) for x in QUERIES
    ]
    np.testing.assert_allclose(method.predict_logits(QUERIES), expected, rtol=1e-5, atol=1e-4)


def test_tip_adapter_searches_the_grid_on_validation():
    task = make_task(validation=True)
    method = TipAdapter().fit(task)
    expected = naive_search(task, task.embeddings)
    np.testing.assert_allclose((method.alpha_, method.beta_), expected, rtol=1e-5)


def test_batches_do_not_change_the_logits(monkeypatch):
    task = make_task(validation=True)
    whole = TipAdapter().fit(task)
    logits = whole.predict_logits(QUERIES)
    monkeypatch.setattr(row_batches_module, "_MAX_ENTRIES", 2 * len(task.labels))
    split = TipAdapter().fit(task)
    assert split.hyperparameters_ == whole.hyperparameters_
    np.testing.assert_allclose(split.predict_logits(QUERIES), logits, rtol=1e-5, atol=1e-4)


def naive_trained_keys(task, epochs, learning_rate=1e-3, weight_decay=0.01):
    """Full-batch AdamW as PyTorch documents it, with the gradient by hand."""
    keys = task.embeddings.astype("float64").copy()
    first, second = np.zeros_like(keys), np.zeros_like(keys)
    for step in range(epochs):
        gradient = np.zeros_like(keys)
        for query, label in zip(task.embeddings, task.labels, strict=True):
            logits = np.array(naive_cache_logits(query, keys, task.labels, 1.0, 5.5, task))
            probabilities = np.exp(logits - logits.max())
            probabilities /= probabilities.sum()
            for row, key_label in enumerate(task.labels):
                weight = math.exp(-5.5 * (1 - float(query @ keys[row])))
                error = probabilities[key_label] - (key_label == label)
                gradient[row] += error * 5.5 * weight * query / len(task.labels)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = learning_rate * 0.5 * (1 + math.cos(math.pi * step / epochs))
        keys *= 1 - rate * weight_decay
        corrected = np.sqrt(second / (1 - 0.999 ** (step + 1)))
        keys -= rate * first / (1 - 0.9 ** (step + 1)) / (corrected + 1e-4)
    return keys


@pytest.mark.parametrize("rows_per_class", [(1, 1, 1, 0, 1), (1, 1, 1, 1, 1)])
def test_tip_adapter_f_trains_the_keys(rows_per_class):
    # A large rate, so that the trained keys differ from where they start.
    task = make_task(rows_per_class, shots=1)
    order = np.argsort(task.labels, kind="stable")
    task = replace(task, embeddings=task.embeddings[order], labels=task.labels[order])
    method = TipAdapterF(learning_rate=0.05, epochs=6).fit(task)
    expected = naive_trained_keys(task, epochs=6, learning_rate=0.05)
    assert np.abs(method.keys_ - task.embeddings).max() > 0.02
    np.testing.assert_allclose(method.keys_, expected, atol=2e-4)
    logits = [naive_cache_logits(x, expected, task.labels, 1.0, 5.5, task) for x in QUERIES]
    np.testing.assert_allclose(method.predict_logits(QUERIES), logits, atol=5e-3)


def test_tip_adapter_f_searches_with_the_trained_keys():
    task = make_task(validation=True)
    method = TipAdapterF(learning_rate=0.05, batch_size=4).fit(task)
    sorted_task = replace(task, labels=np.sort(task.labels))
    expected = naive_search(sorted_task, method.keys_)
    np.testing.assert_allclose((method.alpha_, method.beta_), expected, rtol=1e-5)


def test_tip_adapter_f_refits_on_the_whole_support_set():
    task = make_task()
    method = TipAdapterF().fit(task)
    assert len(method.keys_) == len(task.labels)
    assert "held out" in method.hyperparameters_["selection"]


def test_tip_adapter_f_does_not_touch_the_global_generator():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    TipAdapterF(epochs=1).fit(make_task())
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_names_of_the_methods():
    names = "cmm cmm_plain zero_shot nearest_mean linear_probe clip_adapter tip_adapter "
    names += "tip_adapter_f task_res lp_plus_plus clap gda proker lfa rla hoso_adapter "
    names += "prototype_mixing"
    assert list(METHODS) == names.split()


@pytest.mark.parametrize("method", HERE)
@pytest.mark.parametrize("validation", [True, False])
def test_every_method_keeps_the_interface(method, validation):
    task = make_task(validation=validation)
    first, second = method().fit(task), method().fit(task)
    logits = first.predict_logits(QUERIES)
    assert METHODS[method.name] is method
    assert logits.dtype == np.float32
    assert logits.shape == (len(QUERIES), CLASSES)
    assert np.isfinite(logits).all()
    assert first.predict_logits(QUERIES[:0]).shape == (0, CLASSES)
    np.testing.assert_array_equal(second.predict_logits(QUERIES), logits)
    selection = json.loads(json.dumps(first.hyperparameters_))["selection"]
    assert selection.startswith(("fixed", "few-shot validation: "))


@pytest.mark.parametrize("method", HERE)
def test_fit_does_not_change_the_task(method):
    task = make_task(validation=True)
    copies = {
        name: value.copy() for name, value in vars(task).items() if isinstance(value, np.ndarray)
    }
    method().fit(task)
    for name, value in copies.items():
        np.testing.assert_array_equal(getattr(task, name), value)


def test_importing_the_methods_adds_no_heavy_package():
    # Keras itself imports scikit-learn where it is installed: only what comes after counts.
    code = (
        "import sys, keras; before = set(sys.modules); import keras_cmm.methods; "
        "added = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "assert not added & {'sklearn', 'tensorflow', 'keras_hub'}, added"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("method", HERE)
def test_no_prediction_before_the_fit(method):
    with pytest.raises(InputError, match=f"`{method.name}` is not fitted yet: call `fit"):
        method().predict_logits(np.eye(2, DIM, dtype="float32"))
