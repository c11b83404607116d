"""The benchmark with the embeddings of a second encoder."""

from dataclasses import replace

import numpy as np
import pytest
from benchmark_data import CLASSES, make_data

from keras_cmm.data import NamedEmbeddings
from keras_cmm.evaluation import (
    ShiftedTestSet,
    make_task,
    run_base_to_new,
    run_benchmark,
    run_task,
)
from keras_cmm_runtime.errors import InputError

WIDTH = 6
CENTRES = np.random.default_rng(1).normal(size=(CLASSES, WIDTH))


def with_also(data, noise=0.05):
    rng = np.random.default_rng(2)

    def draw(labels):
        if labels is None:
            return None
        return (CENTRES[labels] + noise * rng.normal(size=(len(labels), WIDTH))).astype("float16")

    further = NamedEmbeddings(
        draw(data.train_labels), draw(data.test_labels), draw(data.val_labels)
    )
    return replace(data, also={"eye": further})


@pytest.mark.parametrize("val_rows", [0, 6])
def test_the_rows_of_a_task_are_of_the_same_images(val_rows):
    data = with_also(make_data(val_rows=val_rows), noise=0.0)
    task = make_task(data, 2, seed=1, also="eye")
    unit = CENTRES.astype("float16").astype("float32")
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.testing.assert_allclose(task.also_embeddings, unit[task.labels], atol=1e-6)
    np.testing.assert_allclose(task.val_also_embeddings, unit[task.val_labels], atol=1e-6)
    plain = make_task(data, 2, seed=1)
    assert plain.also_embeddings is None
    assert plain.val_also_embeddings is None
    np.testing.assert_array_equal(plain.embeddings, task.embeddings)
    assert make_task(data, 0, seed=1, also="eye").also_embeddings.shape == (0, WIDTH)


def test_records_name_both_encoders():
    data = with_also(make_data())
    alone = run_benchmark([data], ["cmm", "nearest_mean"], shots=[4], seeds=[1])
    both = run_benchmark([data], ["cmm", "nearest_mean"], shots=[4], seeds=[1], also="eye")
    assert {record["backbone"] for record in both} == {f"{data.backbone} + eye"}
    assert {record["backbone"] for record in alone} == {data.backbone}
    by_method = {record["method"]: record for record in both}
    assert by_method["cmm"]["hyperparameters"]["also_weight"] > 0
    assert by_method["cmm"]["mapped_own_cosine"] != alone[0]["mapped_own_cosine"]
    assert by_method["cmm"]["own_cosine"] == alone[0]["own_cosine"]
    assert by_method["nearest_mean"]["top1"] == alone[1]["top1"]
    assert set(both[0]) == set(alone[0])


def test_base_to_new():
    data = with_also(make_data())
    task = make_task(data, 4, seed=1, also="eye")
    record = run_base_to_new(data, task, "cmm", also="eye")
    assert record["base_top1"] > 90
    assert "new_top1" in record
    assert "base_top1" in run_base_to_new(data, task, "zero_shot", also="eye")


def test_what_cannot_be_used_is_refused():
    data = with_also(make_data())
    with pytest.raises(
        InputError, match="has no embeddings by a further encoder of the name 'nose'"
    ):
        run_benchmark([data], ["cmm"], shots=[1], seeds=[1], also="nose")
    shift = ShiftedTestSet("other", data.test_embeddings, data.test_labels, np.arange(CLASSES))
    with pytest.raises(InputError, match="shifted test sets have no embeddings of a second"):
        run_task(data, make_task(data, 1, 1, also="eye"), "cmm", [shift], also="eye")


def test_test_rows_of_the_second_encoder_change_nothing_that_is_fitted():
    data = with_also(make_data())
    further = data.further("eye")
    other = replace(further, test=further.test[::-1])
    fitted = [
        run_benchmark([each], ["cmm"], shots=[2], seeds=[1], also="eye")[0]["hyperparameters"]
        for each in (data, replace(data, also={"eye": other}))
    ]
    assert fitted[0] == fitted[1]
