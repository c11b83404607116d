"""What CMM finds where images are few: its accuracy, which no backend changes."""

from dataclasses import replace

import numpy as np
import pytest
from make_embeddings import make_embeddings
from paths import SHARED

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation import make_task
from keras_cmm.methods import CMM, FewShotTask, NearestMean, ZeroShot
from keras_cmm.recipes import AutoRecipe

EMBEDDINGS = SHARED / "embeddings"


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def uneven_task(data, most_rows, few_rows, seed):
    """A task in which every other class has few rows or none, and which classes these are."""
    is_rare = np.arange(data.num_classes) % 2 == 1
    wanted = np.where(is_rare, few_rows, most_rows)
    rows = np.concatenate(
        [np.flatnonzero(data.train_labels == c)[:number] for c, number in enumerate(wanted)]
    )
    task = FewShotTask(
        unit(data.train_embeddings[rows].astype("float32")),
        data.train_labels[rows].astype("int64"),
        unit(data.text_embeddings.astype("float32")),
        data.logit_scale,
        most_rows,
        seed,
    )
    return task, is_rare


def hits(method, task, data):
    logits = method.fit(task).predict_logits(unit(data.test_embeddings.astype("float32")))
    return logits.argmax(axis=1) == data.test_labels


def shared_set(name):
    path = EMBEDDINGS / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/embeddings")
    return EmbeddingSet.read(path)


@pytest.mark.parametrize("few_rows", [0, 1])
def test_classes_with_few_images_are_not_passed_over(few_rows):
    data = make_embeddings()
    task, is_rare = uneven_task(data, 16, few_rows, seed=1)
    rare = is_rare[data.test_labels]
    found = hits(CMM(), task, data)
    passed_over = hits(CMM(AutoRecipe(logit_adjustment=0.0)), task, data)
    assert found[rare].mean() > passed_over[rare].mean() + 0.05
    assert found.mean() > passed_over.mean() + 0.02


@pytest.mark.parametrize("name", ["dtd", "caltech101", "stanford_cars", "imagenet"])
def test_half_of_the_classes_without_images_beat_zero_shot(name):
    data = shared_set(name)
    task, _ = uneven_task(data, 4, 0, seed=1)
    assert hits(CMM(), task, data).mean() > hits(ZeroShot(), task, data).mean()


@pytest.mark.nightly
def test_one_image_of_few_and_alike_classes_beats_zero_shot():
    data = shared_set("imagenet")
    rows = unit(data.train_embeddings.astype("float32"))
    texts = unit(data.text_embeddings.astype("float32"))
    found, expected = [], []
    for first in range(0, 380, 40):  # The animals: neighbours are alike.
        of_class = [np.flatnonzero(data.train_labels == first + label) for label in range(20)]
        drawn, rest = [own[0] for own in of_class], np.concatenate([own[1:] for own in of_class])
        labels = data.train_labels[rest] - first
        few = texts[first : first + 20]
        task = FewShotTask(rows[drawn], np.arange(20), few, data.logit_scale, shots=1, seed=1)
        found.append((CMM().fit(task).predict_logits(rows[rest]).argmax(axis=1) == labels).mean())
        expected.append(((rows[rest] @ few.T).argmax(axis=1) == labels).mean())
    assert np.mean(found) > np.mean(expected)


@pytest.mark.parametrize("shots", [1, 4])
def test_texts_of_other_classes_do_no_harm(shots):
    data = shared_set("dtd")
    data = replace(data, text_embeddings=np.roll(data.text_embeddings, 20, axis=0))
    tasks = [make_task(data, shots, seed) for seed in range(2)]
    found, expected, trusting = (
        np.mean([hits(method, task, data).mean() for task in tasks])
        for method in (CMM(), NearestMean(), CMM(AutoRecipe(text_trust=1.0)))
    )
    assert found > expected
    assert found > trusting + 0.02
