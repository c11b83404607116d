"""Nearest class mean."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead


class NearestMean(LinearHead):
    """Cosine similarity to the mean support embedding of every class, times the logit scale.

    Means are taken over unit-length rows and normalised again. A class without a support row is
    represented by its text prototype.

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

    def fit(self, task: FewShotTask) -> Self:
        """Average the support rows of every class.

        Args:
            task: The support set and class texts.

        Returns:
            The method itself, fitted.
        """
        sums = np.zeros_like(task.text_embeddings)
        np.add.at(sums, task.labels, task.embeddings)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # Zero length: no support row, or rows that cancel out, and then no mean to point along.
        means = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), task.text_embeddings)
        self.weights_ = np.float32(task.logit_scale) * means
        self.hyperparameters_ = {"logit_scale": float(task.logit_scale), "selection": "fixed"}
        return self
