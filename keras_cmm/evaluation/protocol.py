"""The few-shot protocol: which runs a benchmark has, and the task of each run."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm.data import EmbeddingSet, FewShotSample, sample_few_shot, sample_validation
from keras_cmm.methods import FewShotTask
from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.unit_rows import unit_rows

# Numbers in a support set that is read into memory, 1 GiB of float32.
_LARGEST_IN_MEMORY = 1 << 28

Shots = int | Literal["all"]


class Run(NamedTuple):
    """One method at one number of shots and seed; both are 0 for zero-shot."""

    method: str
    shots: int
    seed: int


def plan_runs(
    dataset: str,
    largest_class: int,
    methods: Sequence[str],
    shots: Sequence[Shots],
    seeds: Sequence[int],
) -> list[Run]:
    """Lists the runs on one data set. Runs of the same shots and seed follow each other.

    "all" stands for the rows of the largest class. A larger number of shots is left out with a
    warning.

    Example:
        >>> runs = plan_runs("dtd", 8, ["zero_shot", "cmm", "gda"], shots=[8, "all"], seeds=[1])
        >>> [tuple(run) for run in runs]
        [('zero_shot', 0, 0), ('cmm', 8, 1), ('gda', 8, 1)]
    """
    numbers = []
    for number in shots:
        if number != "all" and number > largest_class:
            warnings.warn(
                f"{dataset}: {number}-shot runs left out, no class has more than {largest_class} "
                "train rows.",
                stacklevel=3,
            )
        else:
            numbers.append(largest_class if number == "all" else number)
    trained = [method for method in dict.fromkeys(methods) if method != "zero_shot"]
    runs = itertools.product(dict.fromkeys(numbers), dict.fromkeys(seeds), trained)
    zero_shot = [Run("zero_shot", 0, 0)] if "zero_shot" in methods else []
    return zero_shot + [Run(method, number, seed) for number, seed, method in runs]


def make_task(
    embedding_set: EmbeddingSet,
    shots: Shots,
    seed: int,
    sample: FewShotSample | None = None,
    val_sample: FewShotSample | None = None,
    also: str | None = None,
) -> FewShotTask:
    """Draws one few-shot task from the train and validation rows of a data set.

    Validation is min(shots, 4) rows a class of the validation split, or of the train rows outside
    the support set where there is no such split. If these rows cover less than half of the classes,
    the task has no validation rows, and methods hold out part of the support set.

    Args:
        embedding_set: The data set. Its test rows are not touched.
        shots: Rows a class, "all", or 0 for an empty support set (zero-shot).
        seed: Seed of both draws and of the training.
        sample: A support set to repeat, instead of a new draw.
        val_sample: Validation rows to repeat, numbered in the validation split if there is one,
            else in the train rows.
        also: Name of the embeddings of a second encoder that the task gets too, or `None`.

    Returns:
        The task, in float32 and unit length. For "all" its `shots` is the number of support rows of
        the largest class.

    Raises:
        InputError: If `shots` or `seed` cannot be used, a sample was drawn from other data, or
            there are no embeddings of the name `also`.

    Example:
        >>> import numpy as np
        >>> eye, ids = np.eye(2, dtype="float16"), np.arange(2)
        >>> data = EmbeddingSet(
        ...     train_embeddings=eye, train_labels=ids, test_embeddings=eye, test_labels=ids,
        ...     text_embeddings=eye, class_names=["ant", "bee"], dataset="bugs", backbone="CLIP",
        ... )
        >>> task = make_task(data, "all", seed=1)
        >>> task.shots, task.labels, task.embeddings.dtype, task.has_validation
        (1, array([0, 1]), dtype('float32'), False)

    References:
        The protocol of CoOp: Zhou et al., IJCV 2022, arXiv:2109.01134.
    """
    if shots == 0:
        rows = np.empty(0, dtype=np.int64)
    elif sample is None:
        keys = embedding_set.keys("train")
        rows = sample_few_shot(embedding_set.train_labels, shots, seed=seed, keys=keys).indices
    else:
        num_rows, rows = len(embedding_set.train_labels), sample.indices
        if (sample.num_rows, sample.shots) != (num_rows, shots):
            raise InputError(
                f"`sample` must hold a {shots}-shot draw of {num_rows} train rows. "
                f"Received: a {sample.shots}-shot draw of {sample.num_rows} rows"
            )
    labels = embedding_set.train_labels[rows].astype(np.int64)
    largest = int(np.bincount(labels, minlength=1).max())
    task = FewShotTask(
        embeddings=_support_rows(embedding_set.train_embeddings, rows),
        labels=labels,
        text_embeddings=unit_rows(embedding_set.text_embeddings),
        logit_scale=embedding_set.logit_scale,
        shots=largest if shots == "all" else shots,
        seed=seed,
        also_embeddings=(
            None if also is None else unit_rows(embedding_set.further(also).train[rows])
        ),
    )
    if not rows.size:
        return task
    return _with_validation(task, embedding_set, rows, largest, val_sample, also)


def _support_rows(
    embeddings: npt.NDArray[np.floating], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32] | LazyRows:
    """Returns support rows, which stay where they are if they would take much memory."""
    if len(rows) * embeddings.shape[1] <= _LARGEST_IN_MEMORY:
        return unit_rows(embeddings[rows])
    return LazyRows(embeddings, rows).unit(slice(None))


def _with_validation(
    task: FewShotTask,
    embedding_set: EmbeddingSet,
    support_rows: npt.NDArray[np.int64],
    shots: int,
    sample: FewShotSample | None,
    also: str | None,
) -> FewShotTask:
    further = None if also is None else embedding_set.further(also)
    also_rows = None if further is None else further.val
    embeddings, labels = embedding_set.val_embeddings, embedding_set.val_labels
    source = "from the validation pool"
    if embeddings is None or labels is None:
        embeddings, labels = embedding_set.train_embeddings, embedding_set.train_labels
        also_rows = None if further is None else further.train
        source = "from train rows outside the support set"
    if sample is None:
        train = embedding_set.train_labels, embedding_set.keys("train")
        has_val = embedding_set.val_embeddings is not None
        val = (labels, embedding_set.keys("val")) if has_val else None
        sample = sample_validation(train, val, support_rows, shots, seed=task.seed)
    elif sample.num_rows != len(labels):
        raise InputError(
            f"`val_sample` must be drawn from {len(labels)} rows. "
            f"Received: one drawn from {sample.num_rows} rows"
        )
    rows = sample.indices
    # Hyper-parameters chosen on a few classes would suit those classes alone.
    if 2 * len(np.unique(labels[rows])) < embedding_set.num_classes:
        return task
    return replace(
        task,
        val_embeddings=unit_rows(embeddings[rows]),
        val_labels=labels[rows].astype(np.int64),
        val_source=source,
        val_also_embeddings=None if also_rows is None else unit_rows(also_rows[rows]),
    )
