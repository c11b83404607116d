"""One method on one task: fitted once, then tested."""

from __future__ import annotations

import time
from collections.abc import Sequence

import keras
import numpy as np

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation.measures import measure_on
from keras_cmm.evaluation.record import Record, make_record
from keras_cmm.evaluation.shifted_test_set import ShiftedTestSet
from keras_cmm.methods import METHODS, FewShotMethod, FewShotTask
from keras_cmm_runtime.errors import InputError


def fit_method(method: str, task: FewShotTask) -> tuple[FewShotMethod, float]:
    """Fits a method with the seed of the task, and returns it with the seconds that this took.

    Raises:
        InputError: If the method refuses the task, or needs more memory than there is.
    """
    keras.utils.set_random_seed(task.seed)
    start = time.perf_counter()
    try:
        fitted = METHODS[method]().fit(task)
    except (MemoryError, RuntimeError) as error:
        # Torch raises a RuntimeError where there is too little memory.
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        raise InputError(
            f"`{method}` needs more memory than there is for {len(task.labels):,} support rows of "
            f"{task.num_classes:,} classes; give fewer shots, or leave it out. ({error})"
        ) from error
    return fitted, time.perf_counter() - start


def run_task(
    embedding_set: EmbeddingSet,
    task: FewShotTask,
    method: str,
    shifts: Sequence[ShiftedTestSet] = (),
    also: str | None = None,
) -> list[Record]:
    """Fits one method once, and tests it on the data set and on shifted test sets.

    Args:
        embedding_set: The data set that the task was drawn from.
        task: The task, see `make_task`.
        method: A key of `keras_cmm.methods.METHODS`.
        shifts: Other test sets of the same classes, or of some of them.
        also: Name of the second encoder's embeddings that the task was drawn with, or `None`. There
            can be no shifts then.

    Returns:
        One record for the data set, see `run_benchmark`, and one for each shift. The record of a
        shift names the data set under `trained_on`.

    Raises:
        InputError: If the method refuses the task, or needs more memory than there is, or `also`
            comes with shifts.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.evaluation import ShiftedTestSet, make_task
        >>> eye, ids = np.eye(3, dtype="float32"), np.arange(3)
        >>> data = EmbeddingSet(
        ...     train_embeddings=eye, train_labels=ids, test_embeddings=eye, test_labels=ids,
        ...     text_embeddings=eye, class_names=["a", "b", "c"], dataset="bugs", backbone="CLIP",
        ... )
        >>> sketches = ShiftedTestSet("sketches", eye[:2], np.array([0, 1]), np.array([0, 2]))
        >>> records = run_task(data, make_task(data, 1, seed=1), "nearest_mean", [sketches])
        >>> [(record["dataset"], record["top1"]) for record in records]
        [('bugs', 100.0), ('sketches', 50.0)]
    """
    if also is not None and shifts:
        raise InputError(
            "shifted test sets have no embeddings of a second encoder: leave out `also` or them."
        )
    fitted, fit_seconds = fit_method(method, task)
    also_rows = None if also is None else embedding_set.further(also).test
    own = ShiftedTestSet(
        embedding_set.dataset,
        embedding_set.test_embeddings,
        embedding_set.test_labels,
        np.arange(embedding_set.num_classes),
    )
    records = []
    for test in (own, *shifts):
        measures, predict_seconds = measure_on(fitted, test, also_rows)
        record = make_record(
            embedding_set,
            task,
            method,
            fitted,
            test_rows=len(test.labels),
            **measures,
            fit_seconds=fit_seconds,
            predict_seconds=predict_seconds,
        )
        if test is not own:
            record |= {"dataset": test.dataset, "trained_on": embedding_set.dataset}
        records.append(record)
    return records
