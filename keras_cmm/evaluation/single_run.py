"""One method on one task: fitted once, then tested."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation.mapped_embeddings import MappedEmbeddings
from keras_cmm.evaluation.record import Record, make_record
from keras_cmm.evaluation.shifted_test_set import ShiftedTestSet
from keras_cmm.methods import CMM, METHODS, FewShotMethod, FewShotTask
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.metrics.accuracy import calibration_error, top_1
from keras_cmm_runtime.utils.unit_rows import unit_rows

Rows = npt.NDArray[np.float32]


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


def predict_logits(fitted: FewShotMethod, embeddings: Rows, also_rows: Rows | None) -> Rows:
    """Returns the logits of a method, from a second encoder too where there is one that it uses."""
    if also_rows is None or not fitted.uses_also:
        return fitted.predict_logits(embeddings)
    return fitted.predict_logits(embeddings, also_rows)


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
    also_rows = None if also is None else unit_rows(embedding_set.further(also).test)
    own = ShiftedTestSet(
        embedding_set.dataset,
        embedding_set.test_embeddings,
        embedding_set.test_labels,
        np.arange(embedding_set.num_classes),
    )
    records = []
    for test in (own, *shifts):
        embeddings = unit_rows(test.embeddings)
        start = time.perf_counter()
        logits = predict_logits(fitted, embeddings, also_rows)
        predict_seconds = time.perf_counter() - start
        record = make_record(
            embedding_set,
            task,
            method,
            fitted,
            test_rows=len(test.labels),
            **_measures(fitted, embeddings, also_rows, logits[:, test.classes], test),
            fit_seconds=fit_seconds,
            predict_seconds=predict_seconds,
        )
        if test is not own:
            record |= {"dataset": test.dataset, "trained_on": embedding_set.dataset}
        records.append(record)
    return records


def _measures(
    fitted: FewShotMethod,
    embeddings: Rows,
    also_rows: Rows | None,
    logits: Rows,
    test: ShiftedTestSet,
) -> dict[str, float]:
    """Returns top-1 and the calibration errors, and for CMM the cosines of the modality gap."""
    measures = {
        "top1": top_1(logits, test.labels),
        "ece": calibration_error(softmax(logits, axis=1), test.labels),
    }
    if fitted.temperature_ is not None:
        measures["ece_calibrated"] = calibration_error(
            softmax(logits / fitted.temperature_, axis=1), test.labels
        )
    if isinstance(fitted, CMM):
        rows = embeddings
        if also_rows is not None:
            rows = np.concatenate([embeddings, also_rows], axis=1)
        mapped = MappedEmbeddings.from_head(fitted.model_, rows, test.labels, test.classes)
        for prefix, gap in zip(("", "mapped_"), mapped.modality_gaps(), strict=True):
            measures[f"{prefix}own_cosine"] = gap.own_cosine
            # It is NaN where all classes share one text, and JSON has no NaN.
            if not math.isnan(gap.hardest_wrong_cosine):
                measures[f"{prefix}hardest_wrong_cosine"] = gap.hardest_wrong_cosine
    return measures
