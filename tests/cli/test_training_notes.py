"""What `fit` says of its training images and class texts."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_cmm_cli.head_training import train_head
from keras_cmm_cli.terminal import Terminal


@pytest.mark.parametrize("trust", [1.0, 0.5, 0.11])
def test_texts_that_count_for_little_are_reported(capsys, trust):
    params = {"doubtful": 0, "text_trust": trust}
    history = SimpleNamespace(params=params, history={"loss": [0.5]})
    classifier = SimpleNamespace(class_names=["a"], fit_embeddings=lambda *_, **__: history)
    found = train_head(Terminal(), classifier, np.eye(1), np.zeros(1, int), None, None, seed=0)
    assert found == {"loss": [0.5]}
    notes = capsys.readouterr().err.splitlines()
    expected = ["the class texts count for 11% only"] if trust == 0.11 else []
    assert [note.split(", ")[0] for note in notes] == expected
