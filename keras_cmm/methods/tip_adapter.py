"""Tip-Adapter, training-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_method import FewShotMethod
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.row_batches import row_batches
from keras_cmm.methods.selection import best_on_validation, tuning_task

DEFAULT_ALPHA = 1.0
DEFAULT_BETA = 5.5

# The authors set the upper bounds of their linear grids by hand for each data set: 7 to 13 for
# beta, 3 to 13 for alpha. Here one grid up to the largest of these bounds serves every data set.
_BETAS = np.linspace(0.1, 13.0, 40, dtype="float32")
_ALPHAS = np.linspace(0.1, 13.0, 40, dtype="float32")


class TipAdapter(FewShotMethod):
    """Tip-Adapter: a cache of the support set, added to the CLIP logits. Nothing is trained.

    The logits are `logit_scale * x @ T0.T + alpha * exp(-beta * (1 - x @ K.T)) @ V`, with the
    support embeddings as keys K and their one-hot labels as values V. alpha and beta are chosen by
    top-1 on few-shot validation, on a grid like the authors'; without validation rows they are 1
    and 5.5.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=1.0, shots=1, seed=1)
        >>> TipAdapter().fit(task).predict_logits(eye).round(3)
        array([[2.   , 0.004],
               [0.004, 2.   ]], dtype=float32)

    References:
        Zhang et al., "Tip-Adapter", ECCV 2022, arXiv:2207.09519, equations 3 to 6;
        grid: https://github.com/gaopengcuhk/Tip-Adapter, utils.py, `search_hp`.
    """

    name: ClassVar[str] = "tip_adapter"

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        # With the rows of a class side by side, the product with V is a sum over segments.
        order = np.argsort(task.labels, kind="stable")
        task = replace(task, embeddings=task.embeddings[order], labels=task.labels[order])

        tuning, selection = tuning_task(task)
        self.alpha_, self.beta_ = DEFAULT_ALPHA, DEFAULT_BETA
        if tuning is not None:
            self.keys_ = self._cache_keys(tuning)
            self.alpha_, self.beta_ = best_on_validation(
                tuning, self._grid_logits, columns=len(self.keys_)
            )
        if tuning is not task:
            self.keys_ = self._cache_keys(task)
        self.labels_ = task.labels
        self.text_weights_ = task.text_weights
        return {"alpha": self.alpha_, "beta": self.beta_, "selection": selection}

    def _logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits = embeddings @ self.text_weights_.T
        for rows in row_batches(len(embeddings), len(self.keys_)):
            similarities = embeddings[rows] @ self.keys_.T
            logits[rows] += self.alpha_ * _cache_logits(
                similarities, self.labels_, logits.shape[1], self.beta_
            )
        return logits

    def _cache_keys(self, task: FewShotTask) -> npt.NDArray[np.float32]:
        """Returns one key for each support row, shape `(rows, dim)`."""
        return task.embeddings

    def _grid_logits(
        self, tuning: FewShotTask, images: npt.NDArray[np.float32]
    ) -> Iterator[tuple[tuple[float, float], npt.NDArray[np.float32]]]:
        text_logits = np.float32(tuning.logit_scale) * images @ tuning.text_embeddings.T
        similarities = images @ self.keys_.T
        for beta in _BETAS:
            cache_logits = _cache_logits(similarities, tuning.labels, tuning.num_classes, beta)
            for alpha in _ALPHAS:
                yield (float(alpha), float(beta)), text_logits + alpha * cache_logits


def _cache_logits(
    similarities: npt.NDArray[np.float32],
    sorted_labels: npt.NDArray[np.integer],
    num_classes: int,
    beta: float,
) -> npt.NDArray[np.float32]:
    """Returns `exp(-beta * (1 - similarities)) @ V`, shape `(batch, classes)`."""
    present, starts = np.unique(sorted_labels, return_index=True)
    weights = np.exp(np.float32(beta) * (similarities - np.float32(1)))
    logits = np.zeros((len(similarities), num_classes), dtype="float32")
    logits[:, present] = np.add.reduceat(weights, starts, axis=1)
    return logits
