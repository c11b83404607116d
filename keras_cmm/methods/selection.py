"""The one way in which methods choose hyper-parameters, never on test data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.row_batches import row_batches
from keras_cmm.recipes import held_out_rows

_Candidate = TypeVar("_Candidate", bound=Hashable)


def tuning_task(task: FewShotTask) -> tuple[FewShotTask | None, str]:
    """Returns the task on which to choose hyper-parameters, and a sentence for the record.

    A task with validation rows is returned as it is. Otherwise `max(1, min(4, shots // 4))` rows of
    each class are held out of the support set, and every class keeps at least one row. The caller
    chooses hyper-parameters on the returned task and then fits again on the whole one. Where no row
    can be held out, as at one shot, the caller keeps its defaults.

    Args:
        task: The task to fit.

    Returns:
        A task with validation rows, or `None`; and the text of `"selection"` in the record.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(
        ...     eye[[0, 0, 1, 1]], np.array([0, 0, 1, 1]), eye, logit_scale=100.0, shots=2, seed=1
        ... )
        >>> tuning, selection = tuning_task(task)
        >>> tuning.labels, tuning.val_labels
        (array([0, 1]), array([0, 1]))
        >>> selection
        'few-shot validation: 2 rows held out of the support set, then refitted on all of it'

    References:
        At most 4 validation rows of each class: CoOp, Zhou et al., IJCV 2022, arXiv:2109.01134.
    """
    if task.val_labels is not None and task.has_validation:
        return task, f"few-shot validation: {len(task.val_labels)} rows, {task.val_source}"
    held_out = held_out_rows(task.labels, task.seed, task.shots)
    if not held_out.any():
        return None, "fixed: no validation rows, and no class has a support row to spare"
    tuning = replace(
        task,
        embeddings=task.embeddings[~held_out],
        labels=task.labels[~held_out],
        also_embeddings=None if task.also_embeddings is None else task.also_embeddings[~held_out],
        val_also_embeddings=None
        if task.also_embeddings is None
        else task.also_embeddings[held_out],
        val_embeddings=np.asarray(task.embeddings[held_out]),
        val_labels=task.labels[held_out],
        val_source="held out of the support set",
    )
    return tuning, (
        f"few-shot validation: {held_out.sum()} rows held out of the support set, "
        "then refitted on all of it"
    )


def best_on_validation(
    tuning: FewShotTask,
    grid_logits: Callable[
        [FewShotTask, npt.NDArray[np.float32]],
        Iterable[tuple[_Candidate, npt.NDArray[np.floating]]],
    ],
    columns: int = 1,
) -> _Candidate:
    """Returns the candidate with the highest top-1 on the validation rows, on a tie the first one.

    Args:
        tuning: A task with validation rows.
        grid_logits: Takes `tuning` and image embeddings, `(batch, dim)`. Yields each candidate with
            its logits for these images, `(batch, classes)`.
        columns: Width of the largest matrix that `grid_logits` makes, `(batch, columns)`; wide ones
            get their validation rows in several batches.

    Returns:
        The best candidate.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> labels = np.array([0, 1])
        >>> task = FewShotTask(eye, labels, eye, 100.0, 1, 1, val_embeddings=eye, val_labels=labels)
        >>> def grid_logits(tuning, images):
        ...     for sign in (-1, 1):
        ...         yield sign, sign * images @ tuning.text_embeddings.T
        >>> best_on_validation(task, grid_logits)
        1
    """
    assert tuning.val_embeddings is not None
    assert tuning.val_labels is not None
    hits: Counter[_Candidate] = Counter()
    for rows in row_batches(len(tuning.val_labels), columns):
        for candidate, logits in grid_logits(tuning, tuning.val_embeddings[rows]):
            correct = logits.argmax(axis=1) == tuning.val_labels[rows]
            hits[candidate] += int(np.count_nonzero(correct))
    # A counter keeps the order of the grid, and `max` takes the first of equals.
    return max(hits, key=hits.__getitem__)
