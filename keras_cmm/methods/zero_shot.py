"""CLIP itself."""

from __future__ import annotations

from typing import ClassVar

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead


class ZeroShot(LinearHead):
    """Zero-shot CLIP: `logit_scale * x @ T0.T`. It ignores the support set.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> ZeroShot().fit(task).predict_logits(eye[:1])
        array([[100.,   0.]], dtype=float32)

    References:
        Radford et al., ICML 2021, arXiv:2103.00020.
    """

    name: ClassVar[str] = "zero_shot"
    min_classes: ClassVar[int] = 0

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        self.weights_ = task.text_weights
        return {"logit_scale": float(task.logit_scale), "selection": "fixed"}
