"""Nearest class mean."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead


class NearestMean(LinearHead):
    """Cosine similarity to the mean support embedding of every class, times the logit scale.

    The means are scaled to unit length. The text of a class without a support row takes the place
    of its mean.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye[:1], np.array([0]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> NearestMean().fit(task).predict_logits(eye)
        array([[100.,   0.],
               [  0., 100.]], dtype=float32)

    References:
        Snell et al., "Prototypical Networks for Few-shot Learning", NeurIPS 2017, arXiv:1703.05175.
    """

    name: ClassVar[str] = "nearest_mean"
    min_classes: ClassVar[int] = 0

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        sums = np.zeros_like(task.text_embeddings)
        np.add.at(sums, task.labels, task.embeddings)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # The length is 0 without support rows, and where they cancel out: no mean has a direction.
        means = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), task.text_embeddings)
        self.weights_ = np.float32(task.logit_scale) * means
        return {"logit_scale": float(task.logit_scale), "selection": "fixed"}
