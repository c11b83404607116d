"""A support set that is mapped from a file gives the head that it gives in memory."""

import importlib

import numpy as np
import pytest
from counted_reads import counted_reads

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.evaluation import ShiftedTestSet, measures
from keras_cmm.evaluation.measures import measure_on
from keras_cmm.methods import CMM, FewShotTask, NearestMean
from keras_cmm.utils import lazy_rows
from keras_cmm.utils.lazy_rows import LazyRows

GENERATOR = np.random.default_rng(2)
CLASSES, SHOTS, DIM = 5, 6, 16
LABELS = np.tile(np.arange(CLASSES), SHOTS)
TEXTS = GENERATOR.normal(size=(CLASSES, DIM)).astype("float32")
TEXTS /= np.linalg.norm(TEXTS, axis=1, keepdims=True)
IMAGES = TEXTS[LABELS] + 0.3 * GENERATOR.normal(size=(len(LABELS), DIM)).astype("float32")
IMAGES = IMAGES.astype("float16")
RECIPE = AutoRecipe(min_steps=5, max_steps=5)


def trained(images, **arguments):
    head = CMMClassifier.from_text_embeddings(TEXTS, logit_scale=30.0)
    RECIPE.fit(head, images, LABELS, verbose=0, **arguments)
    return head


@pytest.mark.parametrize("weighted", [False, True])
def test_fit(tmp_path, monkeypatch, weighted):
    weights = {"sample_weight": np.arange(len(LABELS)) % 3} if weighted else {}
    expected = trained(IMAGES.astype("float32"), **weights)
    monkeypatch.setattr(lazy_rows, "BLOCK_ROWS", 4)
    IMAGES.tofile(tmp_path / "images")
    mapped = np.memmap(tmp_path / "images", "float16", "r", shape=IMAGES.shape)
    found = trained(mapped, **weights)
    for one, other in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-4)
    np.testing.assert_allclose(found.held_out_scores.own, expected.held_out_scores.own, atol=1e-4)
    np.testing.assert_allclose(found.mapped_centre, expected.mapped_centre, atol=1e-4)


def test_no_more_than_a_block_or_a_batch_is_read(tmp_path, monkeypatch):
    images, read = counted_reads(tmp_path / "images", IMAGES)
    for module, name in (
        ("utils.lazy_rows", "BLOCK_ROWS"),
        ("recipes.auto_recipe", "_MAX_MAPPED_ROWS"),
        ("recipes.auto_recipe", "_MAX_RATED_ROWS"),
        ("recipes.closed_form_start", "_MAX_JUDGED_ROWS"),
    ):
        monkeypatch.setattr(importlib.import_module(f"keras_cmm.{module}"), name, 8)
    head = CMMClassifier.from_text_embeddings(TEXTS, logit_scale=30.0)
    rows = AutoRecipe().prepare(head, LazyRows(images), LABELS)
    assert len(rows.embeddings) == len(LABELS) + CLASSES
    assert read
    assert max(read) <= 8


def test_a_benchmark_reads_the_support_set_and_the_test_set_in_parts(monkeypatch):
    rows = LazyRows(IMAGES).unit(slice(None))
    tasks = [
        FewShotTask(given, LABELS, TEXTS, logit_scale=30.0, shots=SHOTS, seed=1)
        for given in (np.asarray(rows), rows)
    ]
    test = ShiftedTestSet("bugs", IMAGES, LABELS, np.arange(CLASSES))
    cmm = CMM(recipe=RECIPE)
    expected, _ = measure_on(cmm.fit(tasks[0]), test)
    assert set(expected) == {
        *("top1", "ece", "ece_calibrated", "own_cosine", "hardest_wrong_cosine"),
        *("mapped_own_cosine", "mapped_hardest_wrong_cosine"),
    }
    monkeypatch.setattr(lazy_rows, "BLOCK_ROWS", 4)
    monkeypatch.setattr(measures, "_BLOCK", 7 * CLASSES)
    found, seconds = measure_on(CMM(recipe=RECIPE).fit(tasks[1]), test)
    assert found == pytest.approx(expected, rel=1e-4)
    assert seconds > 0
    # Another method gets the rows as an array.
    one, other = (NearestMean().fit(task).predict_logits(tasks[0].embeddings) for task in tasks)
    np.testing.assert_array_equal(one, other)
