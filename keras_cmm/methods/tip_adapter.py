"""Tip-Adapter, training-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.checks import check_fitted, check_support
from keras_cmm.methods.few_shot_method import FewShotMethod
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.selection import tuning_task

DEFAULT_ALPHA = 1.0
DEFAULT_BETA = 5.5

# The authors search linear grids up to bounds set by hand for each data set (beta 7 to 13, alpha 3
# to 13); one grid up to the largest of them serves every data set here.
_BETAS = np.linspace(0.1, 13.0, 40, dtype="float32")
_ALPHAS = np.linspace(0.1, 13.0, 40, dtype="float32")

# Bounds the memory of a (batch, support rows) similarity matrix to 64 MB.
_MAX_SIMILARITIES = 2**24


class TipAdapter(FewShotMethod):
    """Tip-Adapter: a cache of the support set added to the CLIP logits, nothing trained.

    `logit_scale * x @ T0.T + alpha * exp(-beta * (1 - x @ K.T)) @ V`, with the support embeddings
    as keys K and their one-hot labels as values V. alpha and beta are chosen by top-1 accuracy on
    few-shot validation, on the authors' kind of grid; where there is none they are 1 and 5.5.

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

    def fit(self, task: FewShotTask) -> Self:
        """Build the cache and choose alpha and beta.

        Args:
            task: The support set, class texts and validation rows.

        Returns:
            The method itself, fitted.

        Raises:
            InputError: If the support set is empty.
        """
        check_support(self, task)
        # Rows of one class side by side turn the product with one-hot V into sums over segments.
        order = np.argsort(task.labels, kind="stable")
        task = replace(task, embeddings=task.embeddings[order], labels=task.labels[order])

        tuning, selection = tuning_task(task)
        if tuning is None:
            keys, alpha, beta = self._cache_keys(task), DEFAULT_ALPHA, DEFAULT_BETA
        else:
            keys = self._cache_keys(tuning)
            alpha, beta = _search_alpha_beta(tuning, keys)
            if tuning is not task:
                keys = self._cache_keys(task)
        self.keys_ = keys
        self.labels_ = task.labels
        self.text_weights_ = np.float32(task.logit_scale) * task.text_embeddings
        self.alpha_ = alpha
        self.beta_ = beta
        self.hyperparameters_ = {"alpha": alpha, "beta": beta, "selection": selection}
        return self

    def predict_logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Score every class.

        Args:
            embeddings: Unit-length float32 image embeddings, shape `(batch, dim)`.

        Returns:
            float32 logits, shape `(batch, classes)`.

        Raises:
            InputError: If the method is not fitted yet.
        """
        check_fitted(self)
        logits = embeddings @ self.text_weights_.T
        for rows in _batches(len(embeddings), len(self.keys_)):
            similarities = embeddings[rows] @ self.keys_.T
            logits[rows] += self.alpha_ * _cache_logits(
                similarities, self.labels_, logits.shape[1], self.beta_
            )
        return logits

    def _cache_keys(self, task: FewShotTask) -> npt.NDArray[np.float32]:
        """Return one key for each support row, shape `(rows, dim)`."""
        return task.embeddings


def _batches(rows: int, keys: int) -> Iterator[slice]:
    size = max(1, _MAX_SIMILARITIES // keys)
    for start in range(0, rows, size):
        yield slice(start, start + size)


def _cache_logits(
    similarities: npt.NDArray[np.float32],
    sorted_labels: npt.NDArray[np.integer],
    num_classes: int,
    beta: float,
) -> npt.NDArray[np.float32]:
    """Return `exp(-beta * (1 - similarities)) @ V`, shape `(batch, classes)`."""
    present, starts = np.unique(sorted_labels, return_index=True)
    weights = np.exp(np.float32(beta) * (similarities - np.float32(1)))
    logits = np.zeros((len(similarities), num_classes), dtype="float32")
    logits[:, present] = np.add.reduceat(weights, starts, axis=1)
    return logits


def _search_alpha_beta(tuning: FewShotTask, keys: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the first pair of the grid with the highest top-1 accuracy on validation."""
    assert tuning.val_embeddings is not None
    assert tuning.val_labels is not None
    correct = np.zeros((len(_BETAS), len(_ALPHAS)), dtype="int64")
    for rows in _batches(len(tuning.val_labels), len(keys)):
        embeddings, labels = tuning.val_embeddings[rows], tuning.val_labels[rows]
        text_logits = np.float32(tuning.logit_scale) * embeddings @ tuning.text_embeddings.T
        similarities = embeddings @ keys.T
        for i, beta in enumerate(_BETAS):
            cache_logits = _cache_logits(similarities, tuning.labels, tuning.num_classes, beta)
            for j, alpha in enumerate(_ALPHAS):
                predicted = (text_logits + alpha * cache_logits).argmax(axis=1)
                correct[i, j] += np.count_nonzero(predicted == labels)
    best_beta, best_alpha = np.unravel_index(correct.argmax(), correct.shape)
    return float(_ALPHAS[best_alpha]), float(_BETAS[best_beta])
