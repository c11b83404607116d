"""What one record of a benchmark holds."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import keras

from keras_cmm import __version__
from keras_cmm.data import EmbeddingSet
from keras_cmm.methods import FewShotMethod, FewShotTask

Record = dict[str, Any]


def make_record(
    embedding_set: EmbeddingSet,
    task: FewShotTask,
    method: str,
    fitted: FewShotMethod,
    **measures: Any,
) -> Record:
    """Returns the flat JSON-able record of one run.

    Args:
        embedding_set: The data set that the task was drawn from.
        task: The task that the method was fitted on.
        method: Key of the method.
        fitted: The fitted method.
        **measures: What was measured, such as `top1` and `fit_seconds`.

    Returns:
        The record, see `run_benchmark`.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.methods import ZeroShot
        >>> eye, ids = np.eye(2, dtype="float32"), np.arange(2)
        >>> task = FewShotTask(eye[:0], ids[:0], eye, logit_scale=100.0, shots=0, seed=0)
        >>> data = EmbeddingSet(
        ...     train_embeddings=eye, train_labels=ids, test_embeddings=eye, test_labels=ids,
        ...     text_embeddings=eye, class_names=["ant", "bee"], dataset="bugs", backbone="CLIP",
        ... )
        >>> record = make_record(data, task, "zero_shot", ZeroShot().fit(task), top1=100.0)
        >>> record["dataset"], record["num_classes"], record["support_rows"], record["top1"]
        ('bugs', 2, 0, 100.0)
    """
    return {
        "dataset": embedding_set.dataset,
        "protocol": embedding_set.protocol,
        "backbone": embedding_set.backbone,
        "method": method,
        "shots": task.shots,
        "seed": task.seed,
        "num_classes": task.num_classes,
        "support_rows": len(task.labels),
        **measures,
        "hyperparameters": fitted.hyperparameters_,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Returns the versions of what a result depends on.

    Example:
        >>> sorted(set(versions()) - {versions()["backend"]})
        ['backend', 'keras', 'keras-hub', 'keras_cmm', 'numpy', 'pillow', 'python']
    """
    backend = keras.backend.backend()
    packages = ("keras", "keras-hub", backend, "numpy", "pillow")
    return {
        "keras_cmm": __version__,
        "python": platform.python_version(),
        "backend": backend,
        **{name: importlib.metadata.version(name) for name in packages},
    }
