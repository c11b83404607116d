import dataclasses
import json

import numpy as np
import pytest
from benchmark_data import CLASSES, RECORD_FIELDS, make_data

from keras_cmm.evaluation import ShiftedTestSet, make_task, run_benchmark, run_transductive
from keras_cmm.methods.transductive import TRANSDUCTIVE_METHODS
from keras_cmm_runtime.errors import InputError

NAMES = list(TRANSDUCTIVE_METHODS)


def test_records():
    records = run_benchmark([make_data(val_rows=4)], NAMES, shots=[1, 2], seeds=[1])
    assert [(each["shots"], each["method"]) for each in records] == [
        (shots, name) for shots in (1, 2) for name in NAMES
    ]
    assert json.loads(json.dumps(records)) == records
    for record in records:
        assert set(record) == RECORD_FIELDS - {"fit_seconds"} | {"transductive"}
        assert record["transductive"] is True
        assert record["top1"] > 100 / CLASSES


@pytest.mark.parametrize("name", NAMES)
def test_test_labels_change_nothing(name, monkeypatch):
    predicted = []

    class Spy(TRANSDUCTIVE_METHODS[name]):
        def predict_logits(self, task, embeddings):
            predicted.append(super().predict_logits(task, embeddings))
            return predicted[-1]

    monkeypatch.setitem(TRANSDUCTIVE_METHODS, name, Spy)
    data = make_data()
    changed = dataclasses.replace(data, test_labels=(data.test_labels + 1) % CLASSES)
    for each in (data, changed):
        run_benchmark([each], [name], shots=[2], seeds=[1])
    np.testing.assert_array_equal(*predicted)


@pytest.mark.parametrize("methods", [[NAMES[0], "gda"], ["gda", NAMES[0]]])
def test_the_two_groups_are_not_run_together(methods):
    with pytest.raises(InputError, match=f"`methods` must be among .* Received: {methods[1]}"):
        run_benchmark([make_data()], methods, shots=[2], seeds=[1])


def test_a_shifted_test_set_is_seen_by_itself():
    data = make_data()
    kept = np.flatnonzero(data.test_labels < 2)
    shift = ShiftedTestSet(
        "sketches", data.test_embeddings[kept], data.test_labels[kept], np.arange(2)
    )
    own, shifted = run_transductive(data, make_task(data, 2, seed=1), NAMES[0], [shift])
    assert (own["dataset"], shifted["dataset"]) == ("generated", "sketches")
    assert shifted["trained_on"] == "generated"
    assert (own["test_rows"], shifted["test_rows"]) == (80, len(kept))
