"""Neither test rows nor test labels change a prediction."""

import dataclasses

import numpy as np
import pytest
from benchmark_data import CLASSES, make_data

from keras_cmm.evaluation import run_benchmark
from keras_cmm.methods import METHODS

KEPT = 20


@pytest.mark.parametrize("name", list(METHODS))
def test_other_test_rows_and_labels_change_no_prediction(name, monkeypatch):
    predicted, fitted = [], []

    class Spy(METHODS[name]):
        def fit(self, task):
            super().fit(task)
            fitted.append(self.hyperparameters_)
            return self

        def predict_logits(self, embeddings):
            predicted.append(super().predict_logits(embeddings))
            return predicted[-1]

    monkeypatch.setitem(METHODS, name, Spy)
    data = make_data()
    rows = data.test_embeddings.copy()
    rows[KEPT:] = -rows[KEPT:]
    changed = dataclasses.replace(
        data, test_embeddings=rows, test_labels=(data.test_labels + 1) % CLASSES
    )
    for each in (data, changed):
        run_benchmark([each], [name], shots=[2], seeds=[1])
    assert fitted[0] == fitted[1]
    np.testing.assert_allclose(predicted[0][:KEPT], predicted[1][:KEPT], rtol=1e-5, atol=1e-5)
    assert np.abs(predicted[0][KEPT:] - predicted[1][KEPT:]).max() > 0.1
