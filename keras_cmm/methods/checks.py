"""What several methods refuse in the same words."""

from __future__ import annotations

from keras_cmm.errors import InputError
from keras_cmm.methods.few_shot_method import FewShotMethod
from keras_cmm.methods.few_shot_task import FewShotTask


def check_support(method: FewShotMethod, task: FewShotTask) -> None:
    """Refuse an empty support set."""
    if not len(task.labels):
        raise InputError(f"`{method.name}` needs at least one support row. Received: none")


def check_fitted(method: FewShotMethod) -> None:
    """Refuse to predict before `fit`."""
    if not hasattr(method, "hyperparameters_"):
        raise InputError(f"`{method.name}` is not fitted yet: call `fit(task)` before it predicts.")
