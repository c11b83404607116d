"""ProKeR: kernel ridge regression that corrects CLIP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_method import FewShotMethod
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.row_batches import row_batches
from keras_cmm.methods.selection import best_on_validation, tuning_task

DEFAULT_BETA = 1.0
DEFAULT_LAMBDA = 0.1

# The authors search 20 x 100 values up to 10. These cover that range in factors of 2 and about 3,
# so that a task of 1000 classes takes less than a minute.
_BETAS = (0.5, 1.0, 2.0, 4.0, 8.0)
_LAMBDAS = (0.03, 0.1, 0.3, 1.0)


class ProKeR(FewShotMethod):
    """ProKeR: zero-shot cosines corrected by kernel ridge regression on the support set.

    With the kernel `k(x, y) = exp(-beta * (1 - x @ y))`, support embeddings K, one-hot labels V and
    the residuals `E = V - K @ T0.T`, the logits are
    `logit_scale * (x @ T0.T + k(x, K) @ inv(k(K, K) / lambda + I) @ E)`. This follows the authors'
    code, where lambda both penalises the correction and weighs it; ridge regression of E alone
    would divide the correction by lambda. The factor `logit_scale`, for probabilities, is ours.

    beta and lambda are chosen by top-1 on few-shot validation; without validation rows they are 1
    and 0.1. Time grows with the cube of the support rows, memory with the square.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> ProKeR().fit(task).predict_logits(eye).argmax(axis=1)
        array([0, 1])

    References:
        Bendou et al., "ProKeR: A Kernel Perspective on Few-Shot Adaptation of Large Vision-Language
        Models", CVPR 2025, arXiv:2501.11175. The formula there does not multiply the correction by
        lambda; the authors' code does, as https://github.com/omarnust/BReg-Adapter holds it.
    """

    name: ClassVar[str] = "proker"

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        tuning, selection = tuning_task(task)
        beta, penalty = DEFAULT_BETA, DEFAULT_LAMBDA
        if tuning is not None:
            beta, penalty = best_on_validation(tuning, _grid_logits)
        kernel = _kernel(task.embeddings, task.embeddings, beta)
        self.coefficients_ = _solve(kernel, penalty, _residuals(task))
        self.support_ = task.embeddings
        self.texts_ = task.text_embeddings
        self.logit_scale_ = np.float32(task.logit_scale)
        self.beta_ = beta
        return {"beta": beta, "lambda": penalty, "selection": selection}

    def _logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits = embeddings @ self.texts_.T
        for rows in row_batches(len(embeddings), len(self.support_)):
            kernel = _kernel(embeddings[rows], self.support_, self.beta_)
            logits[rows] += kernel @ self.coefficients_
        return self.logit_scale_ * logits


def _grid_logits(
    tuning: FewShotTask, images: npt.NDArray[np.float32]
) -> Iterator[tuple[tuple[float, float], npt.NDArray[np.float32]]]:
    residuals = _residuals(tuning)
    cosines = images @ tuning.text_embeddings.T
    for beta in _BETAS:
        support_kernel = _kernel(tuning.embeddings, tuning.embeddings, beta)
        image_kernel = _kernel(images, tuning.embeddings, beta)
        for penalty in _LAMBDAS:
            correction = image_kernel @ _solve(support_kernel, penalty, residuals)
            yield (beta, penalty), cosines + correction


def _kernel(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], beta: float
) -> npt.NDArray[np.float32]:
    # In place: with all images of a data set, one such matrix takes gigabytes.
    kernel = first @ second.T
    kernel -= np.float32(1)
    kernel *= np.float32(beta)
    return np.exp(kernel, out=kernel)


def _residuals(task: FewShotTask) -> npt.NDArray[np.float32]:
    """Returns the one-hot labels minus the zero-shot cosines, shape `(rows, classes)`."""
    residuals = -task.embeddings @ task.text_embeddings.T
    residuals[np.arange(len(task.labels)), task.labels] += 1
    return residuals


def _solve(
    kernel: npt.NDArray[np.float32], penalty: float, residuals: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    from scipy.linalg import solve

    system = kernel / np.float32(penalty)
    system[np.diag_indices_from(system)] += 1
    return np.asarray(solve(system, residuals, assume_a="pos", overwrite_a=True))
