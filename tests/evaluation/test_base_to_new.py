import statistics

import keras
import numpy as np
import pytest
from make_embeddings import make_embeddings

from keras_cmm import CMMClassifier, InputError
from keras_cmm.evaluation import make_task, run_base_to_new, summarize_base_to_new, top_1
from keras_cmm.evaluation.base_to_new import base_task
from keras_cmm.methods import METHODS


@pytest.fixture(scope="module")
def data():
    return make_embeddings()


def test_zero_shot_is_scored_among_the_classes_of_each_half(data):
    record = run_base_to_new(data, make_task(data, 0, seed=0), "zero_shot")
    for name, classes in (("base_top1", range(10)), ("new_top1", range(10, 20))):
        right = []
        for image, label in zip(data.test_embeddings, data.test_labels, strict=True):
            if label in classes:
                scores = {c: float(image @ data.text_embeddings[c]) for c in classes}
                right.append(max(scores, key=scores.get) == label)
        assert record[name] == pytest.approx(100 * np.mean(right))
    assert "top1" not in record


@pytest.mark.parametrize("method", ["cmm", "cmm_plain", "clip_adapter", "lfa", "rla"])
def test_base_classes_are_learned_and_new_ones_kept(data, method):
    zero_shot = run_base_to_new(data, make_task(data, 0, seed=0), "zero_shot")
    record = run_base_to_new(data, make_task(data, 8, seed=1), method)
    assert record["base_top1"] > zero_shot["base_top1"]
    chance = 100 / 10
    assert record["new_top1"] > 2 * chance
    assert (record["method"], record["shots"], record["seed"]) == (method, 8, 1)


def test_cmm_maps_new_classes_as_base_ones_and_starts_their_prototypes(data, monkeypatch):
    fitted, scored = [], []
    fit = METHODS["cmm"].fit

    def watched_fit(self, task):
        fitted.append((fit(self, task), task))
        return self

    def watched_top_1(logits, labels):
        scored.append(logits)
        return top_1(logits, labels)

    monkeypatch.setattr(METHODS["cmm"], "fit", watched_fit)
    monkeypatch.setattr("keras_cmm.evaluation.base_to_new.top_1", watched_top_1)
    task = make_task(data, 4, seed=1)
    run_base_to_new(data, task, "cmm")
    ((method, base),) = fitted
    images = data.test_embeddings[data.test_labels >= 10].astype("float64")
    images /= np.linalg.norm(images, axis=1, keepdims=True)

    whole = CMMClassifier.from_text_embeddings(task.text_embeddings, logit_scale=task.logit_scale)
    method.recipe_.prepare(whole, base.embeddings, base.labels.astype("int64"))
    prototypes = keras.ops.convert_to_numpy(whole.prototypes.embeddings)[10:]
    kernel = keras.ops.convert_to_numpy(method.model_.mapping.kernel)
    mapped = images @ (np.eye(len(kernel)) + kernel)
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    cosines = whole.alpha * mapped @ prototypes.T
    cosines += whole.clip_weight * images @ task.text_embeddings[10:].T
    _, new_logits = scored
    np.testing.assert_allclose(new_logits, task.logit_scale * cosines, rtol=1e-4, atol=1e-3)


def test_training_sees_nothing_of_the_new_classes(data, monkeypatch):
    seen = []
    fit = METHODS["cmm"].fit

    def watch(self, task):
        seen.append(task)
        return fit(self, task)

    monkeypatch.setattr(METHODS["cmm"], "fit", watch)
    run_base_to_new(data, make_task(data, 2, seed=1), "cmm")
    (task,) = seen
    assert len(task.text_embeddings) == 10
    assert set(task.labels) == set(range(10))
    assert task.val_labels is not None
    assert task.val_labels.max() < 10


def test_an_odd_class_is_a_base_class(data):
    rows = data.test_labels < 5
    train = data.train_labels < 5
    five = type(data)(
        train_embeddings=data.train_embeddings[train],
        train_labels=data.train_labels[train],
        test_embeddings=data.test_embeddings[rows],
        test_labels=data.test_labels[rows],
        text_embeddings=data.text_embeddings[:5],
        class_names=data.class_names[:5],
        dataset="five",
        backbone="b",
    )
    record = run_base_to_new(five, make_task(five, 0, seed=0), "zero_shot")
    base, new = data.test_embeddings[data.test_labels < 3], 2
    scores = base @ data.text_embeddings[:3].T
    expected = 100 * np.mean(scores.argmax(axis=1) == data.test_labels[data.test_labels < 3])
    assert record["base_top1"] == pytest.approx(expected)
    assert base_task(make_task(five, 1, seed=1), 5 - new).num_classes == 3


def test_methods_without_texts_are_refused(data):
    for method in ("nearest_mean", "linear_probe", "tip_adapter", "task_res", "gda"):
        with pytest.raises(InputError, match=r"without images: cmm, .* Received: " + method):
            run_base_to_new(data, make_task(data, 1, seed=1), method)


def test_a_method_that_predicts_in_its_own_way_is_refused(data, monkeypatch):
    """Its logits of new classes are not the parent's."""

    class Opposite(METHODS["zero_shot"]):
        def predict_logits(self, embeddings):
            return -super().predict_logits(embeddings)

    monkeypatch.setitem(METHODS, "opposite", Opposite)
    with pytest.raises(InputError, match="Received: opposite"):
        run_base_to_new(data, make_task(data, 0, seed=0), "opposite")


def test_halves_that_cannot_be_tested_are_refused(data):
    eye = np.eye(3, dtype="float32")
    three = type(data)(
        train_embeddings=eye,
        train_labels=np.arange(3),
        test_embeddings=eye,
        test_labels=np.arange(3),
        text_embeddings=eye,
        class_names=["a", "b", "c"],
        dataset="three",
        backbone="b",
    )
    with pytest.raises(InputError, match="four classes or more"):
        run_base_to_new(three, make_task(three, 0, seed=0), "zero_shot")


def test_the_harmonic_mean_is_that_of_averages():
    group = {"protocol": "coop", "backbone": "b", "method": "cmm", "shots": 16}
    values = {("x", 1): (80, 60), ("x", 2): (70, 50), ("y", 1): (90, 30), ("y", 2): (100, 10)}
    records = [
        group | {"dataset": dataset, "seed": seed, "base_top1": base, "new_top1": new}
        for (dataset, seed), (base, new) in values.items()
    ]
    # Of a method that one data set lacks there is no average.
    records.append(records[0] | {"method": "zero_shot"})
    x, y, alone, average = summarize_base_to_new(records)
    assert (x["base"], x["new"], x["seeds"]) == (75, 55, 2)
    assert x["harmonic_mean"] == pytest.approx(statistics.harmonic_mean([75, 55]))
    assert y["harmonic_mean"] == pytest.approx(statistics.harmonic_mean([95, 20]))
    assert (alone["dataset"], alone["method"]) == ("x", "zero_shot")
    assert (average["dataset"], average["base"], average["new"]) == ("average", 85, 37.5)
    assert average["harmonic_mean"] == pytest.approx(statistics.harmonic_mean([85, 37.5]))
