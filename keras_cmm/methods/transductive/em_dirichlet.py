"""EM-Dirichlet: a mixture of Dirichlet distributions on CLIP's probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.transductive.transductive_method import TransductiveMethod
from keras_cmm_runtime.utils.check_number import check_int, check_number

# A probability of 0 has no logarithm.
_LEAST_PROBABILITY = 1e-15
# The steps for one mean end where they move the parameters by less than this part of them.
_TOLERANCE = 1e-5
# Below the first, rounding hides the curvature of log Gamma(a + 1), which is the second at 0.
_SMALL, _CURVATURE_AT_0 = 1e-4, np.pi**2 / 6

_Table = npt.NDArray[np.float64]


@dataclass(eq=False)
class EMDirichlet(TransductiveMethod):
    """EM-Dirichlet: each class is a Dirichlet distribution of CLIP's probability vectors.

    An image is `p = softmax(temperature * x @ T0.T)`. Expectation-maximisation fits the parameters
    `a_c` of each class to the support rows, whose class is known, and to the test images, whose
    class is a probability u that starts at p. The logits, whose softmax is u, are
    `log Dirichlet(p; a_c) + log(mean of u over the test images)`.

    The authors' task has a few of the classes in it, and they weigh the second term by the number
    of classes by that of classes present; with all classes that is 1. The parameters of a class
    are found by the authors' majorisation of the likelihood, in at most `inner_steps` steps; they
    take 1,000. Nothing is chosen on validation.

    Args:
        temperature: The authors' 30; CLIP's own is 100.
        iterations: Steps of expectation-maximisation.
        inner_steps: Largest number of steps for the parameters, in each of them.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> EMDirichlet().predict_logits(task, eye).argmax(axis=1)
        array([0, 1])

    References:
        Martin et al., "Transductive Zero-Shot and Few-Shot CLIP", CVPR 2024, arXiv:2405.18437;
        https://github.com/SegoleneMartin/transductive-CLIP, src/methods/few_shot/em_dirichlet.py.
    """

    name: ClassVar[str] = "em_dirichlet"

    temperature: float = 30.0
    iterations: int = 20
    inner_steps: int = 100

    def __post_init__(self) -> None:
        """Refuses settings that nothing can be fitted with."""
        check_number("temperature", self.temperature, "> 0")
        check_int("iterations", self.iterations, 1)
        check_int("inner_steps", self.inner_steps, 1)

    def _predict(
        self, task: FewShotTask, embeddings: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], dict[str, object]]:
        from scipy.special import gammaln, softmax

        support = np.log(self._probabilities(task, task.embeddings))
        assigned = self._probabilities(task, embeddings)
        images = np.log(assigned)
        known = np.zeros((task.num_classes, task.num_classes))
        np.add.at(known, task.labels, support)
        parameters = np.ones_like(known)
        logits = images
        for _ in range(self.iterations):
            counts = task.rows_per_class + assigned.sum(axis=0)
            means = (known + assigned.T @ images) / counts[:, None]
            parameters = _dirichlet(means, parameters, self.inner_steps)
            constants = gammaln(parameters.sum(axis=1)) - gammaln(parameters).sum(axis=1)
            shares = np.log(assigned.mean(axis=0) + _LEAST_PROBABILITY)
            logits = images @ (parameters - 1).T + constants + shares
            assigned = softmax(logits, axis=1)
        return logits.astype("float32"), {
            "temperature": self.temperature,
            "iterations": self.iterations,
            "inner_steps": self.inner_steps,
            "selection": "fixed",
        }

    def _probabilities(self, task: FewShotTask, embeddings: npt.NDArray[np.float32]) -> _Table:
        from scipy.special import softmax

        cosines = (embeddings @ task.text_embeddings.T).astype("float64")
        return np.asarray(softmax(self.temperature * cosines, axis=1) + _LEAST_PROBABILITY)


def _dirichlet(means: _Table, start: _Table, steps: int) -> _Table:
    """Returns the parameters whose expected logarithms are nearest to `means`, a row each.

    The negative log-likelihood `sum_j(log Gamma(a_j) - a_j * means_j) - log Gamma(sum_j a_j)` is
    bounded from above at `a`: its last term by the tangent, and `log Gamma(a_j + 1)` in
    `log Gamma(a_j) = log Gamma(a_j + 1) - log a_j` by the parabola that touches it at a_j and meets
    it at 0. The bound is least where a quadratic equation is 0.
    """
    from scipy.special import digamma, gammaln

    parameters = start
    for _ in range(steps):
        slope = digamma(parameters + 1)
        # log Gamma(1) is 0.
        curvature = 2 * (slope * parameters - gammaln(parameters + 1)) / np.square(parameters)
        curvature = np.where(parameters > _SMALL, curvature, _CURVATURE_AT_0)
        total = digamma(parameters.sum(axis=1, keepdims=True))
        linear = slope - total - curvature * parameters - means
        moved = (np.sqrt(np.square(linear) + 4 * curvature) - linear) / (2 * curvature)
        change = np.linalg.norm(moved - parameters) / np.linalg.norm(parameters)
        parameters = moved
        if change < _TOLERANCE:
            break
    return parameters
