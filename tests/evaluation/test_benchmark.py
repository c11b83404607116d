import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from benchmark_data import CLASSES, DIM, OF_CMM, RECORD_FIELDS, make_data

from keras_cmm.data import EmbeddingSet, row_keys, sample_few_shot
from keras_cmm.evaluation import (
    ShiftedTestSet,
    make_task,
    run_base_to_new,
    run_benchmark,
    run_task,
    summarize,
)
from keras_cmm.methods import METHODS, FewShotMethod
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.unit_rows import unit_rows


def assert_unit(rows):
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)


def counts(labels):
    return np.bincount(labels, minlength=CLASSES).tolist()


@pytest.mark.parametrize(("shots", "expected"), [(1, 1), (2, 2), (8, 4)])
def test_validation_from_the_pool(shots, expected):
    task = make_task(make_data(val_rows=6), shots, seed=1)
    assert counts(task.labels) == [shots] * CLASSES
    assert counts(task.val_labels) == [expected] * CLASSES
    assert task.val_source == "from the validation pool"
    for rows in (task.embeddings, task.val_embeddings, task.text_embeddings):
        assert_unit(rows)


def test_validation_from_unused_train_rows():
    task = make_task(make_data(), 3, seed=1)
    assert counts(task.val_labels) == [3] * CLASSES
    assert task.val_source == "from train rows outside the support set"
    assert not set(row_keys(task.embeddings)) & set(row_keys(task.val_embeddings))


def test_no_validation_where_everything_is_used():
    assert not make_task(make_data(), 8, seed=1).has_validation


def test_no_validation_on_a_few_classes_alone():
    assert not make_task(make_data((8, 4, 4, 4)), 4, seed=1).has_validation
    with pytest.warns(UserWarning, match="fewer than 5 rows"):
        task = make_task(make_data((8, 8, 4, 4)), 5, seed=1)
    assert counts(task.val_labels) == [3, 3, 0, 0]


def test_all_shots():
    task = make_task(make_data((8, 3, 5, 1)), "all", seed=1)
    assert task.shots == 8
    assert counts(task.labels) == [8, 3, 5, 1]


def test_no_shots_is_an_empty_support_set():
    task = make_task(make_data(val_rows=4), 0, seed=0)
    assert task.embeddings.shape == (0, DIM)
    assert not task.has_validation


def test_the_same_support_set_for_any_order_of_the_file():
    data = make_data()
    order = np.random.default_rng(3).permutation(len(data.train_labels))
    shuffled = dataclasses.replace(
        data,
        train_embeddings=data.train_embeddings[order],
        train_labels=data.train_labels[order],
    )
    first, second = make_task(data, 2, seed=1), make_task(shuffled, 2, seed=1)
    np.testing.assert_array_equal(first.embeddings, second.embeddings)
    np.testing.assert_array_equal(first.val_embeddings, second.val_embeddings)
    assert (first.embeddings != make_task(data, 2, seed=2).embeddings).any()


def test_a_saved_sample_is_repeated():
    data = make_data()
    sample = sample_few_shot(data.train_labels, 2, seed=7, keys=row_keys(data.train_embeddings))
    repeated = make_task(data, 2, seed=1, sample=sample)
    np.testing.assert_array_equal(repeated.embeddings, make_task(data, 2, seed=7).embeddings)
    with pytest.raises(InputError, match="must hold a 3-shot draw"):
        make_task(data, 3, seed=1, sample=sample)
    with pytest.raises(InputError, match="of 31 rows"):
        make_task(data, 2, seed=1, sample=dataclasses.replace(sample, num_rows=31))


@pytest.fixture(scope="module")
def records():
    """Returns the records of all methods, and what was seen while they were made."""
    seen = []
    found = run_benchmark(
        [make_data(val_rows=4)], list(METHODS), shots=[2], seeds=[1, 2], on_record=seen.append
    )
    return found, seen


def test_records(records):
    records, seen = records
    assert seen == records
    assert len(records) == 1 + 2 * (len(METHODS) - 1)
    assert json.loads(json.dumps(records)) == records
    for record in records:
        assert set(record) == RECORD_FIELDS | (OF_CMM if "cmm" in record["method"] else set())
        assert 0 <= record["top1"] <= 100
        assert type(record["shots"]) is int
        assert record["num_classes"] == CLASSES
        assert record["support_rows"] == CLASSES * record["shots"]
        assert isinstance(record["hyperparameters"]["selection"], str)
        versions = record["versions"]
        assert {"keras_cmm", "keras", "backend", "numpy", "python"} < set(versions)
        assert versions["backend"] in versions
    zero_shot = [record for record in records if record["method"] == "zero_shot"]
    assert [(record["shots"], record["seed"]) for record in zero_shot] == [(0, 0)]


def test_runs_repeat_exactly(records):
    """In any order, and whatever else is run."""
    again = run_benchmark(
        [make_data(val_rows=4)], list(METHODS)[::-1], np.array([2]), np.arange(2, 3)
    )
    json.dumps(again)
    first = {record["method"]: record for record in records[0] if record["seed"] != 1}
    assert len(again) == len(first) == len(METHODS)
    for record in again:
        expected = first[record["method"]]
        assert record["top1"] == expected["top1"]
        assert record["hyperparameters"] == expected["hyperparameters"]


def test_too_many_shots_are_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="16-shot runs left out, no class has more than 8"):
        records = run_benchmark([make_data()], ["nearest_mean"], shots=[4, 16], seeds=[1])
    assert [record["shots"] for record in records] == [4]


def test_some_small_classes_are_no_reason_to_leave_shots_out():
    with pytest.warns(UserWarning, match="fewer than 8 rows"):
        (record,) = run_benchmark([make_data((8, 2, 8, 8))], ["nearest_mean"], [8], [1])
    assert (record["shots"], record["num_classes"], record["support_rows"]) == (8, 4, 26)


def test_classes_that_all_share_one_text_have_no_wrong_prototype():
    data = make_data(text_embeddings=np.ones((CLASSES, DIM), dtype="float16"))
    (record,) = run_benchmark([data], ["cmm"], [2], [1])
    json.dumps(record, allow_nan=False)
    missing = {"hardest_wrong_cosine", "mapped_hardest_wrong_cosine"}
    assert set(record) == (RECORD_FIELDS | OF_CMM) - missing


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (MemoryError("Unable to allocate 53.6 GiB"), InputError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), InputError),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError),
    ],
)
def test_a_method_that_needs_too_much_memory(error, refused, monkeypatch):
    def fit(self, task):
        raise error

    monkeypatch.setattr(METHODS["clip_adapter"], "fit", fit)
    data = make_data()
    for run in (run_task, run_base_to_new):
        with pytest.raises(refused) as caught:
            run(data, make_task(data, 2, seed=1), "clip_adapter")
        assert str(error) in str(caught.value)
        if refused is InputError:
            assert "`clip_adapter` needs more memory than there is" in str(caught.value)


def test_a_method_that_refuses_a_run_stops_no_other():
    one_class = make_data((8, 0, 0, 0), dataset="one class")
    methods = ["linear_probe", "nearest_mean"]
    message = "one class: linear_probe, 2-shot, seed 3 left out. .* at least 2 for `linear_probe`"
    with pytest.warns(UserWarning, match=message):
        records = run_benchmark([one_class, make_data()], methods, [2], [3])
    assert [(record["dataset"], record["method"]) for record in records] == [
        ("one class", "nearest_mean"),
        ("generated", "linear_probe"),
        ("generated", "nearest_mean"),
    ]
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(InputError, match="at least 2 for `linear_probe`"),
    ):
        run_benchmark([one_class], ["linear_probe"], [2], [3])


def test_all_is_recorded_as_a_number_and_runs_once():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = run_benchmark([make_data((8, 2, 8, 8))], ["nearest_mean"], [8, "all"], [1])
    assert [record["shots"] for record in records] == [8]


def test_bad_arguments():
    data = make_data()
    with pytest.raises(InputError, match="Received: svm"):
        run_benchmark([data], ["svm"], [1], [1])
    with pytest.raises(InputError, match="Received: 0"):
        run_benchmark([data], ["nearest_mean"], [0], [1])
    for seed in (-1, 2**32):
        with pytest.raises(InputError, match=f"Received: {seed}"):
            run_benchmark([data], ["nearest_mean"], [1], [1, seed])
    with pytest.raises(InputError, match="could not be told apart"):
        run_benchmark([data, data], ["nearest_mean"], [1], [1])


def test_the_seed_is_set_before_each_fit(monkeypatch):
    draws = []

    class Drawing(METHODS["zero_shot"]):
        def fit(self, task):
            draws.append(np.random.random())  # noqa: NPY002
            return super().fit(task)

    assert issubclass(Drawing, FewShotMethod)
    monkeypatch.setitem(METHODS, "drawing", Drawing)
    run_benchmark([make_data()], ["drawing", "zero_shot"], [1, 2], [5])
    assert len(draws) == 2
    assert len(set(draws)) == 1


def test_what_is_asked_for_twice_is_run_once():
    records = run_benchmark([make_data()], ["nearest_mean"] * 2, [1, 1], [5, 5])
    assert len(records) == 1


@pytest.mark.shared
def test_reference_values():
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "embeddings"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    dtd, imagenet = (EmbeddingSet.read(folder / f"{n}.safetensors") for n in ("dtd", "imagenet"))
    zero_shot = run_benchmark([dtd, imagenet], ["zero_shot"], [], [])
    assert [record["top1"] for record in zero_shot] == pytest.approx([43.32, 65.90], abs=0.1)
    methods = ["cmm", "cmm_plain", "tip_adapter_f"]
    rows = summarize(run_benchmark([dtd], methods, [4], [1, 2]))
    means = {row["method"]: row["mean"] for row in rows}
    # The references are of the plain recipe.
    assert means.pop("cmm") > means["cmm_plain"]
    assert means == pytest.approx({"cmm_plain": 57.9, "tip_adapter_f": 55.4}, abs=1.5)


def test_shifts_are_scored_by_the_same_head_among_their_classes(monkeypatch):
    data, fits = make_data(), []
    fit = METHODS["nearest_mean"].fit

    def watch(self, task):
        fits.append(self)
        return fit(self, task)

    monkeypatch.setattr(METHODS["nearest_mean"], "fit", watch)
    classes = np.array([0, 2, 3])
    rows = np.flatnonzero(np.isin(data.test_labels, classes))
    labels = np.searchsorted(classes, data.test_labels[rows])
    shift = ShiftedTestSet("shift", data.test_embeddings[rows], labels, classes)
    own, shifted = run_task(data, make_task(data, 2, seed=1), "nearest_mean", [shift])
    (head,) = fits
    right = [
        classes[head.predict_logits(unit_rows(image[None]))[0, classes].argmax()] == label
        for image, label in zip(data.test_embeddings[rows], data.test_labels[rows], strict=True)
    ]
    assert shifted["top1"] == pytest.approx(100 * np.mean(right))
    assert (shifted["dataset"], shifted["trained_on"]) == ("shift", own["dataset"])
    assert "trained_on" not in own


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([3, 7], [3, 7], "`labels` must be positions in the 2 `classes`.*from 3 to 7"),
        ([0, 1], [7, 3], "`classes` must be class ids in ascending order"),
        ([0, 1, 1], [3, 7], "there must be one label .* 2 embeddings and 3 labels"),
    ],
)
def test_refused_shifts(labels, classes, message):
    with pytest.raises(InputError, match=f"shift: {message}"):
        ShiftedTestSet("shift", np.eye(2), np.array(labels), np.array(classes))


def test_a_shift_without_images_is_refused():
    with pytest.raises(InputError, match="at least one"):
        ShiftedTestSet("shift", np.empty((0, 2)), np.array([], int), np.array([0]))
