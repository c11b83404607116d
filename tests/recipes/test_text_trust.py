"""Texts count as far as the support set bears them out."""

from dataclasses import replace

import numpy as np
import pytest
from make_embeddings import make_embeddings
from paths import SHARED

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation import make_task
from keras_cmm.methods import CMM
from keras_cmm.recipes import AutoRecipe, text_trust

FULL = AutoRecipe().full_trust


def trust_of(task):
    logits = task.logit_scale * task.embeddings @ task.text_embeddings.T
    return text_trust(logits, task.labels, FULL)


def made_sure(labels, sure, rng):
    """Logits that are likeliest at the factor 1, made surer than they should be."""
    logits = rng.normal(size=(len(labels), 3))
    drawn = np.exp(logits).cumsum(axis=1) / np.exp(logits).sum(axis=1, keepdims=True)
    return sure * logits, (rng.random(len(labels))[:, None] > drawn).sum(axis=1)


@pytest.mark.parametrize("sure", [0.5, 1.5, 2.0, 4.0])
def test_texts_that_are_too_sure_count_for_the_square_of_what_is_true_of_it(sure):
    logits, labels = made_sure(np.zeros(20_000), sure, np.random.default_rng(0))
    expected = min(1.0, 1 / sure) ** 2
    assert text_trust(logits, labels, 1.0) == pytest.approx(expected, rel=0.1)


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
    rows = data.test_embeddings.astype("float32")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    hits = []
    for full in (0.0, FULL):
        method = CMM(AutoRecipe(full_trust=full, min_steps=40), calibrate=False)
        tasks = [make_task(data, 1, seed) for seed in (1, 2)]
        found = [method.fit(task).predict_logits(rows).argmax(axis=1) for task in tasks]
        hits.append(np.mean([each == data.test_labels for each in found]))
    assert all(trust_of(task) < 0.5 for task in tasks)
    assert hits[1] > hits[0] + 0.05
