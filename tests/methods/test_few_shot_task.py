import numpy as np
import pytest

from keras_cmm.methods import FewShotTask
from keras_cmm_runtime.errors import InputError

EYE = np.eye(3, dtype="float32")


def make(**changes):
    arguments = {
        "embeddings": EYE,
        "labels": np.arange(3),
        "text_embeddings": EYE,
        "logit_scale": 100.0,
        "shots": 1,
        "seed": 1,
    }
    return FewShotTask(**arguments | changes)


def test_a_support_set_may_be_empty():
    task = make(embeddings=EYE[:0], labels=np.arange(0), shots=0)
    assert task.num_classes == 3
    assert not task.has_validation


def test_validation_rows():
    assert make(val_embeddings=EYE, val_labels=np.arange(3)).has_validation
    assert not make(val_embeddings=EYE[:0], val_labels=np.arange(0)).has_validation


def test_there_is_no_place_for_test_data():
    assert not [field for field in FewShotTask.__dataclass_fields__ if "test" in field]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_embeddings": EYE[0]}, "text_embeddings"),
        ({"embeddings": EYE[:2]}, "one row for each label"),
        ({"embeddings": EYE[:, :2]}, "width"),
        ({"labels": np.zeros((3, 1), int)}, "one row for each label"),
        ({"labels": np.array([0, 1, 3])}, "must lie in"),
        ({"labels": np.array([0, 1, -1])}, "must lie in"),
        ({"labels": np.arange(3.0)}, "must be class ids, integers. Received: float64"),
        ({"embeddings": 2 * EYE}, "unit length"),
        ({"embeddings": np.full((3, 3), np.nan, "float32")}, "unit length"),
        ({"embeddings": EYE.astype("float64")}, "float32"),
        ({"text_embeddings": EYE.astype("float16")}, "float32"),
        *(
            ({"logit_scale": value}, "`logit_scale` must be a (finite )?float > 0")
            for value in (0.0, -1.0, float("nan"), float("inf"), True)
        ),
        ({"shots": -1}, "`shots` must be an int >= 0"),
        ({"shots": True}, "`shots` must be an int >= 0"),
        ({"seed": 0.5}, "`seed` must be an int >= 0"),
        ({"labels": np.array([True, False, True])}, "integers. Received: bool"),
        ({"val_embeddings": EYE}, "together"),
        ({"val_embeddings": EYE, "val_labels": np.array([0, 1, 9])}, "val_embeddings"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(InputError, match=message):
        make(**changes)
