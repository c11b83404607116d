"""ProKeR: kernel ridge regression that corrects CLIP."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.checks import check_fitted, check_support
from keras_cmm.methods.few_shot_method import FewShotMethod
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.selection import tuning_task

DEFAULT_BETA = 1.0
DEFAULT_LAMBDA = 0.1

# The authors search 20 x 100 values up to 10; these cover that range in steps of 2 and about 3, and
# leave 1000 classes under a minute.
_BETAS = (0.5, 1.0, 2.0, 4.0, 8.0)
_LAMBDAS = (0.03, 0.1, 0.3, 1.0)

# Bounds the memory of a (batch, support rows) kernel matrix to 64 MB.
_MAX_KERNEL_ENTRIES = 2**24


class ProKeR(FewShotMethod):
    """ProKeR: zero-shot cosines corrected by kernel ridge regression on the support set.

    With the kernel `k(x, y) = exp(-beta * (1 - x @ y))`, support embeddings K, one-hot labels V and
    the residuals `E = V - K @ T0.T`, the logits are
    `logit_scale * (x @ T0.T + k(x, K) @ inv(k(K, K) / lambda + I) @ E)`. That is the authors' code,
    where lambda penalises the correction and also weighs it; the ridge regression of E itself would
    divide the correction by lambda. The factor `logit_scale`, for probabilities, is ours. beta and
    lambda are chosen by top-1 accuracy on few-shot validation; where there is none they are 1 and
    0.1. Time grows with the cube of the support rows, memory with the square.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> ProKeR().fit(task).predict_logits(eye).argmax(axis=1)
        array([0, 1])

    References:
        Bendou et al., "ProKeR: A Kernel Perspective on Few-Shot Adaptation of Large Vision-Language
        Models", CVPR 2025, arXiv:2501.11175. That lambda also multiplies the correction is not in
        the formula there; it follows the authors' code as https://github.com/omarnust/BReg-Adapter
        holds it.
    """

    name: ClassVar[str] = "proker"

    def fit(self, task: FewShotTask) -> Self:
        """Choose beta and lambda and solve for the coefficients.

        Args:
            task: The support set, class texts and validation rows.

        Returns:
            The method itself, fitted.

        Raises:
            InputError: If the support set is empty.
        """
        check_support(self, task)
        tuning, selection = tuning_task(task)
        beta, penalty = (DEFAULT_BETA, DEFAULT_LAMBDA) if tuning is None else _search(tuning)
        kernel = _kernel(task.embeddings, task.embeddings, beta)
        self.coefficients_ = _solve(kernel, penalty, _residuals(task))
        self.support_ = task.embeddings
        self.texts_ = task.text_embeddings
        self.logit_scale_ = np.float32(task.logit_scale)
        self.beta_ = beta
        self.hyperparameters_ = {"beta": beta, "lambda": penalty, "selection": selection}
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
        logits = embeddings @ self.texts_.T
        size = max(1, _MAX_KERNEL_ENTRIES // len(self.support_))
        for start in range(0, len(embeddings), size):
            rows = slice(start, start + size)
            kernel = _kernel(embeddings[rows], self.support_, self.beta_)
            logits[rows] += kernel @ self.coefficients_
        return self.logit_scale_ * logits


def _kernel(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], beta: float
) -> npt.NDArray[np.float32]:
    # In place: with all images of a data set, one such matrix takes gigabytes.
    kernel = first @ second.T
    kernel -= np.float32(1)
    kernel *= np.float32(beta)
    return np.exp(kernel, out=kernel)


def _residuals(task: FewShotTask) -> npt.NDArray[np.float32]:
    """Return what the zero-shot cosines lack to the one-hot labels, shape `(rows, classes)`."""
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


def _search(tuning: FewShotTask) -> tuple[float, float]:
    """Return the first (beta, lambda) of the grid with the highest top-1 accuracy on validation."""
    assert tuning.val_embeddings is not None
    residuals = _residuals(tuning)
    text_logits = tuning.val_embeddings @ tuning.text_embeddings.T
    best, best_hits = (DEFAULT_BETA, DEFAULT_LAMBDA), -1
    for beta in _BETAS:
        support_kernel = _kernel(tuning.embeddings, tuning.embeddings, beta)
        val_kernel = _kernel(tuning.val_embeddings, tuning.embeddings, beta)
        for penalty in _LAMBDAS:
            correction = val_kernel @ _solve(support_kernel, penalty, residuals)
            predicted = (text_logits + correction).argmax(axis=1)
            hits = int(np.count_nonzero(predicted == tuning.val_labels))
            if hits > best_hits:
                best, best_hits = (beta, penalty), hits
    return best
