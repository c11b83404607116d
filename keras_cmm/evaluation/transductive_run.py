"""One transductive method on one task."""

from __future__ import annotations

import time
from collections.abc import Sequence

import keras
import numpy as np
from scipy.special import softmax

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation.record import Record, make_record
from keras_cmm.evaluation.shifted_test_set import ShiftedTestSet
from keras_cmm.methods import FewShotTask
from keras_cmm.methods.transductive import TRANSDUCTIVE_METHODS
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.metrics.accuracy import calibration_error, top_1
from keras_cmm_runtime.utils.unit_rows import unit_rows


def run_transductive(
    embedding_set: EmbeddingSet,
    task: FewShotTask,
    method: str,
    shifts: Sequence[ShiftedTestSet] = (),
) -> list[Record]:
    """Classifies all test images of a data set together, and those of each shifted test set.

    Args:
        embedding_set: The data set that the task was drawn from.
        task: The task, see `make_task`.
        method: A key of `keras_cmm.methods.transductive.TRANSDUCTIVE_METHODS`.
        shifts: Other test sets of the same classes, or of some of them.

    Returns:
        One record for the data set and one for each shift, as of `run_task`, with `transductive`
        true and without `fit_seconds`. The record of a shift names the data set under `trained_on`.

    Raises:
        InputError: If the method refuses the task, or needs more memory than there is.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.evaluation import make_task
        >>> eye, ids = np.eye(3, dtype="float32"), np.arange(3)
        >>> data = EmbeddingSet(
        ...     train_embeddings=eye, train_labels=ids, test_embeddings=eye, test_labels=ids,
        ...     text_embeddings=eye, class_names=["a", "b", "c"], dataset="bugs", backbone="CLIP",
        ... )
        >>> (record,) = run_transductive(data, make_task(data, 1, seed=1), "em_dirichlet")
        >>> record["top1"], record["transductive"]
        (100.0, True)
    """
    own = ShiftedTestSet(
        embedding_set.dataset,
        embedding_set.test_embeddings,
        embedding_set.test_labels,
        np.arange(embedding_set.num_classes),
    )
    records = []
    for test in (own, *shifts):
        keras.utils.set_random_seed(task.seed)
        fitted = TRANSDUCTIVE_METHODS[method]()
        start = time.perf_counter()
        try:
            logits = fitted.predict_logits(task, unit_rows(test.embeddings))[:, test.classes]
        except MemoryError as error:
            raise InputError(
                f"`{method}` needs more memory than there is for {len(test.labels):,} images of "
                f"{task.num_classes:,} classes; leave it out. ({error})"
            ) from error
        record = make_record(
            embedding_set,
            task,
            method,
            fitted,
            transductive=True,
            test_rows=len(test.labels),
            top1=top_1(logits, test.labels),
            ece=calibration_error(softmax(logits, axis=1), test.labels),
            predict_seconds=time.perf_counter() - start,
        )
        if test is not own:
            record |= {"dataset": test.dataset, "trained_on": embedding_set.dataset}
        records.append(record)
    return records
