"""LP++: a linear probe blended with the class texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead
from keras_cmm_runtime.utils.check_number import check_int

# The authors' constant: a text's multiplier starts at 250 times the mean cosine between support
# rows and their own texts.
_MULTIPLIER_PER_COSINE = 250.0
_MOMENTUM = 0.9


@dataclass(eq=False)
class LPPlusPlus(LinearHead):
    """LP++: logits `x @ (w_c + alpha_c * t_c)`, with w and alpha learned.

    w_c starts at the sum of the class's support rows. Every alpha_c starts at 250 times the mean
    cosine between support rows and their own texts. Gradient descent on the mean cross-entropy of
    the whole support set takes step sizes from the data: w moves every iteration by
    `4 * N / eigmax(K.T @ K)` times its gradient, with momentum 0.9; alpha moves every tenth
    iteration by `N / (4 * max_c ||K @ t_c||^2)` times its gradient.

    Nothing is chosen on validation, and the last iteration is kept. The authors' script differs
    from their paper, which this class follows: the script keeps the iteration that is best on
    validation rows, trains a bias too, and moves alpha along the sum of all gradients so far.

    A class without a support row keeps its starting alpha, and its w is the mean of the other
    classes' starting w, so only its text sets it apart. The other classes are trained without it.

    Args:
        iterations: Steps of gradient descent.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> LPPlusPlus().fit(task).predict_logits(eye).argmax(axis=1)
        array([0, 1])

    References:
        Huang et al., "LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP", CVPR 2024,
        arXiv:2404.02285; https://github.com/FereshteShakeri/FewShot-CLIP-Strong-Baseline,
        methods/linear_probe_p2.py.
    """

    name: ClassVar[str] = "lp_plus_plus"

    iterations: int = 300

    def __post_init__(self) -> None:
        check_int("iterations", self.iterations, 1)

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        embeddings, labels, counts = task.embeddings, task.labels, task.rows_per_class
        present = counts > 0
        text_logits = embeddings @ task.text_embeddings.T
        rows = np.arange(len(labels))

        weights = np.zeros_like(task.text_embeddings)
        np.add.at(weights, labels, embeddings)
        weights[~present] = weights[present].mean(axis=0)
        # Every class has the same weight, whatever its number of rows.
        own_cosines = np.sum(text_logits[rows, labels] / counts[labels]) / np.count_nonzero(present)
        start = _MULTIPLIER_PER_COSINE * own_cosines
        multipliers = np.full(task.num_classes, start, dtype="float32")

        weight_step = 4 * len(labels) / np.linalg.norm(embeddings, ord=2) ** 2
        multiplier_step = len(labels) / (4 * np.square(text_logits).sum(axis=0).max())
        velocity = np.zeros_like(weights)
        for iteration in range(1, self.iterations + 1):
            logits = embeddings @ weights.T + multipliers * text_logits
            # Training could only lower the logits of a class without rows, without end.
            logits[:, ~present] = -np.inf
            errors = _softmax(logits)
            errors[rows, labels] -= 1
            errors *= np.float32(1 / len(labels))
            velocity *= np.float32(_MOMENTUM)
            velocity += errors.T @ embeddings
            weights -= np.float32(weight_step) * velocity
            if iteration % 10 == 0:
                multipliers -= np.float32(multiplier_step) * np.sum(errors * text_logits, axis=0)
        self.weights_ = np.asarray(
            weights + multipliers[:, None] * task.text_embeddings, dtype="float32"
        )
        return {
            "iterations": self.iterations,
            "weight_step": float(weight_step),
            "multiplier_step": float(multiplier_step),
            "multiplier_start": float(start),
            "selection": "fixed",
        }


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns the softmax of every row, in place: at 1000 classes copies would double its time."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits
