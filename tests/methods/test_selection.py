import numpy as np

from keras_cmm.methods import FewShotTask
from keras_cmm.methods.selection import tuning_task


def make(labels, shots, seed=1, **validation):
    rows = np.zeros((len(labels), 4), dtype="float32")
    rows[np.arange(len(labels)), np.arange(len(labels)) % 4] = 1
    return FewShotTask(
        rows, np.array(labels), np.eye(4, dtype="float32"), 100.0, shots, seed, **validation
    )


def test_validation_rows_are_used_where_there_are_some():
    eye = np.eye(4, dtype="float32")
    task = make(
        [0, 1, 2, 3],
        shots=1,
        val_embeddings=eye,
        val_labels=np.arange(4),
        val_source="from the validation pool",
    )
    tuning, selection = tuning_task(task)
    assert tuning is task
    assert selection == "few-shot validation: 4 rows, from the validation pool"


def test_held_out_rows_per_class():
    for shots, expected in [(2, 1), (4, 1), (7, 1), (8, 2), (16, 4), (64, 4)]:
        task = make([0] * shots + [1] * shots, shots)
        tuning, selection = tuning_task(task)
        assert np.bincount(tuning.val_labels).tolist() == [expected, expected]
        assert np.bincount(tuning.labels).tolist() == [shots - expected, shots - expected]
        assert f"{2 * expected} rows held out of the support set" in selection


def test_a_class_keeps_its_last_row():
    tuning, _ = tuning_task(make([0, 1, 1, 1, 1, 2, 2], shots=16))
    assert np.bincount(tuning.labels, minlength=4).tolist() == [1, 1, 1, 0]
    assert np.bincount(tuning.val_labels, minlength=4).tolist() == [0, 3, 1, 0]


def test_nothing_to_hold_out_at_one_shot():
    tuning, selection = tuning_task(make([0, 1, 2], shots=1))
    assert tuning is None
    assert selection.startswith("fixed:")


def test_held_out_rows_depend_on_the_seed_alone():
    labels = [0] * 50 + [1] * 50
    task = make(labels, shots=50)
    once, again = tuning_task(task)[0], tuning_task(task)[0]
    other = tuning_task(make(labels, shots=50, seed=2))[0]
    np.testing.assert_array_equal(once.val_embeddings, again.val_embeddings)
    assert (once.val_embeddings != other.val_embeddings).any()
