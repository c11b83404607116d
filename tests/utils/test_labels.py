import unicodedata

import numpy as np
import pytest

from keras_cmm.models.inputs import iterate_images
from keras_cmm.utils.labels import ids_of_labels
from keras_cmm_runtime.errors import InputError


@pytest.mark.parametrize(
    "labels",
    [
        [0, 2, 1],
        ["ant", "cat", "bee"],
        [b"ant", b"cat", b"bee"],
        np.array([[0], [2], [1]]),
        np.array([0.0, 2.0, 1.0]),
        np.eye(3)[[0, 2, 1]],
    ],
)
def test_class_ids(labels):
    ids = ids_of_labels(labels, ["ant", "bee", "cat"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [0, 2, 1]


def test_an_accent_may_be_encoded_either_way():
    names = [unicodedata.normalize("NFC", name) for name in ("\u00e9clair", "cr\u00eape")]
    typed = [unicodedata.normalize("NFD", name) for name in reversed(names)]
    assert typed != names[::-1]
    assert ids_of_labels(typed, names).tolist() == [1, 0]
    assert ids_of_labels(names, typed).tolist() == [1, 0]
    # Names that differ by nothing else are what they are.
    both = [names[0], unicodedata.normalize("NFD", names[0])]
    assert ids_of_labels(both, both).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["ant", "dog"], "label 'dog' is none of the model's 3 class names"),
        (np.array(["ant", 1], dtype=object), "label '1' is none"),
        ([0, 3], "values 0 to 3"),
        ([-1, 0], "values -1 to 0"),
        ([0.5, 1.0], "class ids from 0 to 2"),
        (np.full((2, 3), 1 / 3), "soft labels"),
        ([True, 0, 1], "a truth value"),
        (np.array([True, False]), "a truth value"),
        (["ant", True], "a truth value"),
        ([np.nan, 1.0], "such as nan"),
        ([1 + 0j, 0], "dtype complex128"),
        ([[0, 1], [1]], "must be an array or a list"),
        (0, "must be an array or a list, one a row. Received: int"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "dtype datetime64"),
        (np.eye(4), r"shape \(4, 4\)"),
    ],
)
def test_labels_that_cannot_be_used(labels, message):
    with pytest.raises(InputError, match=message):
        ids_of_labels(labels, ["ant", "bee", "cat"])


def test_data_frames_of_labels():
    import pandas

    names = ["ant", "bee", "cat"]
    series = pandas.Series(["ant", "cat", "bee"])
    for frame in (pandas.get_dummies(series), series.to_frame()):
        assert ids_of_labels(frame, names).tolist() == [0, 2, 1]
        labels = [label for _, label in iterate_images(["a.png", "b.png", "c.png"], frame)]
        assert ids_of_labels(labels, names).tolist() == [0, 2, 1]
