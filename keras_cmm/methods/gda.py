"""Gaussian discriminant analysis added to CLIP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.gaussian_classifier import gaussian_classifier
from keras_cmm.methods.linear_head import LinearHead
from keras_cmm.methods.selection import best_on_validation, tuning_task

DEFAULT_ALPHA = 0.1

# The authors' grid, the same on every data set.
_ALPHAS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


class GDA(LinearHead):
    """Gaussians with one covariance, fitted to the support set and added to the CLIP logits.

    With class means `m_c` and the within-class covariance S of N rows of width D, the precision is
    `P = D * inv((N - 1) * S + tr(S) * I)` and the logits are
    `logit_scale * x @ T0.T + alpha * (x @ P @ m_c - m_c @ P @ m_c / 2)`. alpha is chosen from the
    authors' grid by top-1 on few-shot validation; without validation rows it is 0.1.

    Where no class has two rows, there is no covariance and `P = D * I`. A class without a support
    row gets its text plus the mean difference between class means and texts of the other classes.

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

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        tuning, selection = tuning_task(task)
        alpha = DEFAULT_ALPHA if tuning is None else best_on_validation(tuning, _grid_logits)
        weights, bias = gaussian_classifier(task)
        self.weights_ = task.text_weights + np.float32(alpha) * weights
        self.bias_ = np.float32(alpha) * bias
        return {"alpha": alpha, "selection": selection}


def _grid_logits(
    tuning: FewShotTask, images: npt.NDArray[np.float32]
) -> Iterator[tuple[float, npt.NDArray[np.float32]]]:
    weights, bias = gaussian_classifier(tuning)
    gaussian_logits = images @ weights.T + bias
    text_logits = np.float32(tuning.logit_scale) * images @ tuning.text_embeddings.T
    for alpha in _ALPHAS:
        yield alpha, text_logits + np.float32(alpha) * gaussian_logits
