"""Texts count as far as the support set bears them out."""

from dataclasses import replace

import numpy as np
import pytest
from make_embeddings import make_embeddings
from paths import SHARED

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation import make_task
from keras_cmm.methods import CMM
from keras_cmm.models import CMMClassifier
from keras_cmm.recipes import AutoRecipe, TrainingRecipe, is_more_probable, text_trust
from keras_cmm.utils.lazy_rows import LazyRows


def trust_of(task):
    logits = task.logit_scale * task.embeddings @ task.text_embeddings.T
    return text_trust(logits, task.labels)


def with_deviations(data, deviations):
    """The set with texts that deviate like this from their mean."""
    texts = data.text_embeddings.mean(axis=0) + deviations
    return replace(data, text_embeddings=texts / np.linalg.norm(texts, axis=1, keepdims=True))


def misleading():
    """Texts of two classes in one, which are as sure as they are right, and still mislead."""
    data = make_embeddings()
    deviations = data.text_embeddings - data.text_embeddings.mean(axis=0)
    mixed = 0.45 * deviations + 0.55 * np.roll(deviations, 3, axis=0)
    return with_deviations(data, 0.4 * mixed)


def head_of(task):
    return CMMClassifier.from_text_embeddings(task.text_embeddings, logit_scale=task.logit_scale)


def top_1(method, data):
    rows = data.test_embeddings / np.linalg.norm(data.test_embeddings, axis=1, keepdims=True)
    return np.mean(method.predict_logits(rows.astype("float32")).argmax(1) == data.test_labels)


def made_sure(labels, sure, rng):
    """Logits that are likeliest at the factor 1, made surer than they should be."""
    logits = rng.normal(size=(len(labels), 3))
    drawn = np.exp(logits).cumsum(axis=1) / np.exp(logits).sum(axis=1, keepdims=True)
    return sure * logits, (rng.random(len(labels))[:, None] > drawn).sum(axis=1)


@pytest.mark.parametrize("sure", [0.5, 1.5, 2.0, 4.0])
def test_texts_that_are_too_sure_count_for_the_square_of_what_is_true_of_it(sure):
    logits, labels = made_sure(np.zeros(20_000), sure, np.random.default_rng(0))
    expected = min(1.0, 1 / sure) ** 2
    assert text_trust(logits, labels) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", ["dtd", "caltech101", "stanford_cars", "imagenet"])
@pytest.mark.parametrize("shots", [1, 3])
def test_clips_own_texts_count_in_full(name, shots):
    path = SHARED / "embeddings" / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/embeddings")
    data = EmbeddingSet.read(path)
    assert [trust_of(make_task(data, shots, seed)) for seed in (1, 2, 3)] == [1.0, 1.0, 1.0]


def test_texts_that_name_other_classes_do_less_harm_than_before():
    """Half of the classes have swapped their texts, so that the texts are sure of wrong classes."""
    data = make_embeddings()
    texts = np.array(data.text_embeddings)
    texts[:14] = np.roll(texts[:14], 5, axis=0)
    data = replace(data, text_embeddings=texts)
    hits = []
    for trust in (1.0, None):
        method = CMM(AutoRecipe(text_trust=trust, min_steps=40), calibrate=False)
        tasks = [make_task(data, 1, seed) for seed in (1, 2)]
        hits.append(np.mean([top_1(method.fit(task), data) for task in tasks]))
    assert all(trust_of(task) < 0.5 for task in tasks)
    assert hits[1] > hits[0] + 0.05


def test_held_out_images_tell_what_the_support_set_does_not():
    data = misleading()
    found = {}
    for trust in (1.0, None):
        methods = [
            CMM(AutoRecipe(text_trust=trust, min_steps=40), calibrate=False).fit(
                make_task(data, 2, seed)
            )
            for seed in (5, 6)
        ]
        found[trust] = np.mean([top_1(method, data) for method in methods])
    assert [trust_of(make_task(data, 2, seed)) for seed in (5, 6)] == [1.0, 1.0]
    assert [method.hyperparameters_["text_trust"] for method in methods] == [1 / 3, 1 / 3]
    assert found[None] > found[1.0] + 0.02


def test_without_held_out_images_the_support_set_decides():
    """One image per class and no validation, or no calibration, hold out none."""
    data = misleading()
    recipe = AutoRecipe(min_steps=2)
    one, two = (make_task(data, shots, seed=2) for shots in (1, 2))
    for task, calibrate in ((one, True), (two, False)):
        history = recipe.fit(
            head_of(task), task.embeddings, task.labels, calibrate=calibrate, verbose=0
        )
        assert history.params["text_trust"] == 1.0


def test_a_support_set_gives_its_own_held_out_images():
    task = make_task(misleading(), 4, seed=6)
    for trust, expected in ((None, 1 / 3), (0.9, 0.9)):
        head, recipe = head_of(task), AutoRecipe(text_trust=trust, min_steps=20)
        history = recipe.fit(head, task.embeddings, task.labels, verbose=0)
        assert history.params["text_trust"] == expected
        assert head.held_out_scores is not None


def test_held_out_images_of_some_classes_do_not_choose():
    """Less trust would take from the class that none of them is of, and so look better."""
    task = make_task(misleading(), 4, seed=6)
    kept = np.flatnonzero(task.labels != 7)
    few = np.append(kept, np.flatnonzero(task.labels == 7)[0])
    for rows in (kept, few):
        recipe = AutoRecipe(min_steps=20)
        history = recipe.fit(head_of(task), task.embeddings[rows], task.labels[rows], verbose=0)
        assert history.params["text_trust"] == 1.0


def test_what_is_chosen_from():
    task = make_task(misleading(), 1, seed=3)
    arguments = head_of(task), LazyRows.of(task.embeddings), task.labels
    trusts = [each.text_trust for each in AutoRecipe().candidates(*arguments)]
    assert trusts == [None, pytest.approx(1 / 3), pytest.approx(1 / 9)]
    for recipe in (AutoRecipe(text_trust=0.5), TrainingRecipe()):
        assert recipe.candidates(*arguments) == [recipe]
    for shots, number in ((8, 3), (9, 1)):
        task = make_task(misleading(), shots, seed=1)
        rows = LazyRows.of(task.embeddings)
        assert len(AutoRecipe().candidates(head_of(task), rows, task.labels)) == number


def test_a_later_fit_trusts_the_texts_no_further():
    task = make_task(misleading(), 1, seed=1)
    head = head_of(task)
    AutoRecipe(text_trust=0.25, min_steps=2).fit(head, task.embeddings, task.labels, verbose=0)
    history = AutoRecipe(min_steps=2).fit(head, task.embeddings, task.labels, verbose=0)
    assert history.params["text_trust"] == pytest.approx(0.25)


class Judge:
    """A head that has these logits for any rows."""

    def __init__(self, logits):
        self.logits = np.asarray(logits, dtype="float32")

    def predict(self, embeddings, **kwargs):
        return self.logits[np.asarray(embeddings)[:, 0].astype(int)]


@pytest.mark.parametrize("better", [0.0, 1.0, 4.0])
def test_a_head_is_better_by_more_than_two_standard_errors(better):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    own = np.eye(3)[labels]
    first = 3 * own + rng.normal(size=own.shape)
    second = 3 * own + rng.normal(size=own.shape) + better * own
    rows = np.arange(50.0)[:, None]

    def losses(logits):
        # The temperature of the most probable one, by trying many.
        found = []
        for temperature in np.geomspace(0.1, 10, 2001):
            p = np.exp(logits / temperature)
            own = -np.log(p[np.arange(50), labels] / p.sum(axis=1))
            found.append((own.sum() + 0.5 * (np.log(temperature) / 0.5) ** 2, own))
        return min(found, key=lambda each: each[0])[1]

    gains = losses(first) - losses(second)
    expected = gains.mean() > 2 * np.std(gains) / np.sqrt(50)
    assert is_more_probable(Judge(second), Judge(first), rows, labels, seed=0) == expected
    assert expected == (better == 4.0)
    assert not is_more_probable(Judge(first), Judge(first), rows, labels, seed=0)
