"""Gaussian discriminant analysis added to CLIP."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.checks import check_support
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead
from keras_cmm.methods.selection import tuning_task

DEFAULT_ALPHA = 0.1

# The authors' grid, over the same six decades on every data set.
_ALPHAS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)

# A scatter this small is rounding: no class has two rows that differ.
_MIN_VARIANCE = 1e-6


class GDA(LinearHead):
    """Gaussians of one covariance, fitted to the support set, added to the CLIP logits.

    With class means `m_c` and the within-class covariance S of N rows of width D, the precision is
    `P = D * inv((N - 1) * S + tr(S) * I)` and the logits are
    `logit_scale * x @ T0.T + alpha * (x @ P @ m_c - m_c @ P @ m_c / 2)`. alpha is chosen by top-1
    accuracy on few-shot validation, on the authors' grid; where there is none it is 0.1.

    Where no class has two rows there is no covariance and `P = D * I`. The mean of a class without
    a support row is its text, moved as far as the other classes' means lie from their texts.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=1.0, shots=1, seed=1)
        >>> GDA().fit(task).predict_logits(eye).round(3)
        array([[ 1.1, -0.1],
               [-0.1,  1.1]], dtype=float32)

    References:
        Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024,
        arXiv:2402.04087; https://github.com/mrflogs/ICLR24, main_few_shots.py, `run`.
    """

    name: ClassVar[str] = "gda"

    def fit(self, task: FewShotTask) -> Self:
        """Estimate means and precision and choose alpha.

        Args:
            task: The support set, class texts and validation rows.

        Returns:
            The method itself, fitted.

        Raises:
            InputError: If the support set is empty.
        """
        check_support(self, task)
        tuning, selection = tuning_task(task)
        alpha = DEFAULT_ALPHA if tuning is None else _search_alpha(tuning)
        text_weights = np.float32(task.logit_scale) * task.text_embeddings
        weights, bias = _gaussian_classifier(task)
        self.weights_ = text_weights + np.float32(alpha) * weights
        self.bias_ = np.float32(alpha) * bias
        self.hyperparameters_ = {"alpha": alpha, "selection": selection}
        return self


def _gaussian_classifier(
    task: FewShotTask,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return weights `(classes, dim)` and biases `(classes,)` of the Gaussians alone."""
    embeddings = task.embeddings.astype("float64")
    means = _class_means(task, embeddings)
    centred = embeddings - means[task.labels]
    # Within-class rows sum to zero, so this is the covariance times N - 1.
    scatter = centred.T @ centred
    variance = np.trace(scatter) / max(len(centred) - 1, 1)
    dim = scatter.shape[0]
    identity = np.eye(dim)
    if variance < _MIN_VARIANCE:
        precision = dim * identity
    else:
        precision = dim * np.linalg.inv(scatter + variance * identity)
    weights = means @ precision
    bias = -0.5 * np.sum(weights * means, axis=1)
    return weights.astype("float32"), bias.astype("float32")


def _class_means(task: FewShotTask, embeddings: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    counts = np.bincount(task.labels, minlength=task.num_classes)[:, None]
    present = counts[:, 0] > 0
    sums = np.zeros(task.text_embeddings.shape)
    np.add.at(sums, task.labels, embeddings)
    means = sums / np.maximum(counts, 1)
    gap = np.mean(means[present] - task.text_embeddings[present], axis=0)
    return np.where(counts > 0, means, task.text_embeddings + gap)


def _search_alpha(tuning: FewShotTask) -> float:
    """Return the smallest alpha with the highest top-1 accuracy on validation."""
    assert tuning.val_embeddings is not None
    weights, bias = _gaussian_classifier(tuning)
    gaussian_logits = tuning.val_embeddings @ weights.T + bias
    text_logits = np.float32(tuning.logit_scale) * tuning.val_embeddings @ tuning.text_embeddings.T
    hits = [
        np.count_nonzero(
            (text_logits + np.float32(alpha) * gaussian_logits).argmax(axis=1) == tuning.val_labels
        )
        for alpha in _ALPHAS
    ]
    return _ALPHAS[int(np.argmax(hits))]
