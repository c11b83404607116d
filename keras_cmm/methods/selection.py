"""The one rule by which methods choose hyper-parameters, never on test data."""

from __future__ import annotations

from dataclasses import replace

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.recipes import held_out_rows


def tuning_task(task: FewShotTask) -> tuple[FewShotTask | None, str]:
    """Return the task on which to choose hyper-parameters, and a sentence for the record.

    A task with validation rows is returned as it is. From one without, `max(1, min(4, shots // 4))`
    rows a class are held out of the support set, leaving every class at least one: the caller
    chooses there and then refits on the whole task. Where nothing can be held out, as at one shot,
    the caller keeps its fixed defaults.

    Args:
        task: The task to be fitted.

    Returns:
        A task that has validation rows, or `None`; and what to write under `"selection"`.

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
        min(shots, 4) validation rows a class: CoOp, Zhou et al., IJCV 2022, arXiv:2109.01134.
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
        val_embeddings=task.embeddings[held_out],
        val_labels=task.labels[held_out],
        val_source="held out of the support set",
    )
    return tuning, (
        f"few-shot validation: {held_out.sum()} rows held out of the support set, "
        "then refitted on all of it"
    )
