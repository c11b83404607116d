"""Methods on tasks with the embeddings of a second encoder."""

from dataclasses import replace

import numpy as np
import pytest
from small_tasks import CLASSES, QUERIES, make_task, one_shot, unit

from keras_cmm.methods import CMM, METHODS, PlainCMM
from keras_cmm.methods.selection import tuning_task
from keras_cmm.recipes import AutoRecipe
from keras_cmm_runtime.errors import InputError

WIDTH = 6
SEEN = np.random.default_rng(7).normal(size=(CLASSES, WIDTH))
ALSO_QUERIES = unit(np.random.default_rng(8).normal(size=(len(QUERIES), WIDTH)))
QUICK = AutoRecipe(min_steps=5)


def seen(labels, noise=0.3):
    rng = np.random.default_rng(9)
    return unit(SEEN[labels] + noise * rng.normal(size=(len(labels), WIDTH)))


def with_also(task, noise=0.3):
    val = None if task.val_labels is None else seen(task.val_labels, noise)
    return replace(task, also_embeddings=seen(task.labels, noise), val_also_embeddings=val)


@pytest.mark.parametrize("task", [make_task(), make_task(validation=True), one_shot()])
def test_cmm_uses_them(task):
    method = CMM(QUICK).fit(with_also(task))
    assert method.model_.also_dim == WIDTH
    assert "also_weight" in method.hyperparameters_
    assert "also_weight" not in CMM(QUICK).fit(task).hyperparameters_
    logits = method.predict_logits(QUERIES, ALSO_QUERIES)
    assert logits.shape == (len(QUERIES), CLASSES)
    if method.hyperparameters_["also_weight"]:
        assert np.abs(logits - method.predict_logits(QUERIES, -ALSO_QUERIES)).max() > 1e-3


def test_plain_cmm_maps_both():
    method = PlainCMM()
    assert method.uses_also
    method.fit(with_also(make_task()))
    assert method.predict_logits(QUERIES, ALSO_QUERIES).shape == (len(QUERIES), CLASSES)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"cmm", "cmm_plain"}))
def test_others_ignore_them(name):
    assert not METHODS[name].uses_also


@pytest.mark.parametrize("name", ["nearest_mean", "zero_shot", "gda"])
def test_others_give_what_they_give_without(name):
    plain = METHODS[name]().fit(make_task()).predict_logits(QUERIES)
    method = METHODS[name]().fit(with_also(make_task()))
    np.testing.assert_array_equal(method.predict_logits(QUERIES, ALSO_QUERIES), plain)
    np.testing.assert_array_equal(method.predict_logits(QUERIES), plain)


def test_what_cannot_be_used_is_refused():
    method = CMM(QUICK).fit(with_also(make_task()))
    with pytest.raises(InputError, match=r"was fitted with a second encoder: .*\(7, 6\)"):
        method.predict_logits(QUERIES)
    with pytest.raises(InputError, match="`also_embeddings` must have one row for each"):
        method.predict_logits(QUERIES, ALSO_QUERIES[:2])
    with pytest.raises(InputError, match="`also_embeddings` must hold embeddings of shape"):
        method.predict_logits(QUERIES, ALSO_QUERIES[:, :2])
    task = make_task()
    also = seen(task.labels)
    for changes, message in (
        ({"also_embeddings": also[1:]}, "`also_embeddings` must have one row for each"),
        ({"also_embeddings": also[:, 0]}, "`also_embeddings` must have one row for each"),
        ({"also_embeddings": 2 * also}, "`also_embeddings` must have unit length"),
        ({"also_embeddings": also.astype("float64")}, "`also_embeddings` must be float32"),
        ({"val_also_embeddings": also}, "`val_also_embeddings` must be given where"),
    ):
        with pytest.raises(InputError, match=message):
            replace(task, **changes)
    with pytest.raises(InputError, match="`val_also_embeddings` must be given where"):
        replace(make_task(validation=True), also_embeddings=also)


def test_rows_that_are_held_out_keep_theirs():
    task = with_also(make_task())
    tuning, _ = tuning_task(task)
    np.testing.assert_allclose(tuning.also_embeddings.shape, (len(tuning.labels), WIDTH))
    assert tuning.val_also_embeddings.shape == (len(tuning.val_labels), WIDTH)
    everything = np.concatenate([tuning.also_embeddings, tuning.val_also_embeddings])
    np.testing.assert_array_equal(
        np.sort(everything, axis=0), np.sort(task.also_embeddings, axis=0)
    )
