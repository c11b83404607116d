"""What one record of a benchmark holds."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import keras

from keras_cmm import __version__
from keras_cmm.data import EmbeddingSet
from keras_cmm.methods import FewShotMethod, FewShotTask
from keras_cmm.methods.transductive import TransductiveMethod

Record = dict[str, Any]


def make_record(
    embedding_set: EmbeddingSet,
    task: FewShotTask,
    method: str,
    fitted: FewShotMethod | TransductiveMethod,
    **measures: Any,
) -> Record:
    """Returns the flat JSON-able record of a fitted method, with what was measured."""
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
