"""Linear probe: logistic regression on the support set alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead
from keras_cmm.methods.selection import best_on_validation, tuning_task

_INVERSE_PENALTIES = (1.0, 10.0, 100.0)
_DEFAULT_INVERSE_PENALTY = 10.0
_MAX_ITERATIONS = 100

# Below any logit of a trained class, and finite, so that softmax and cross-entropy are finite too.
_ABSENT_LOGIT = -1e4


class LinearProbe(LinearHead):
    """Multinomial logistic regression by L-BFGS (scikit-learn), without the class texts.

    The inverse L2 penalty C is chosen among 1, 10 and 100 by top-1 on few-shot validation; without
    validation rows it is 10. A class without a support row gets the logit -1e4 and is never
    predicted.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(3, dtype="float32")
        >>> task = FewShotTask(eye[:2], np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> LinearProbe().fit(task).predict_logits(eye[:2]).argmax(axis=1)
        array([0, 1])

    References:
        Radford et al., ICML 2021, arXiv:2103.00020, section 3.2.
    """

    name: ClassVar[str] = "linear_probe"
    min_classes: ClassVar[int] = 2

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        tuning, selection = tuning_task(task)
        if tuning is None:
            regression = _fit_regression(_new_regression(_DEFAULT_INVERSE_PENALTY), task)
        else:
            regression = best_on_validation(tuning, _grid_logits)
            if tuning is not task:
                # From zero: L-BFGS may not move from the solution without the held-out rows.
                regression = _fit_regression(_new_regression(regression.C), task)
        weights, bias = _classifier(regression, task.num_classes)
        self.weights_, self.bias_ = weights.astype("float32"), bias.astype("float32")
        return {
            "C": regression.C,
            "iterations": int(regression.n_iter_[0]),
            "max_iterations": _MAX_ITERATIONS,
            "selection": selection,
        }


def _grid_logits(
    tuning: FewShotTask, images: npt.NDArray[np.float32]
) -> Iterator[tuple[Any, npt.NDArray[np.float64]]]:
    regression = _new_regression(_INVERSE_PENALTIES[0])
    for inverse_penalty in _INVERSE_PENALTIES:
        _fit_regression(regression.set_params(C=inverse_penalty), tuning)
        weights, bias = _classifier(regression, tuning.num_classes)
        yield copy.deepcopy(regression), images @ weights.T + bias


def _new_regression(inverse_penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    # Each fit starts where the last one ended: a path over C costs little more than its last step.
    return LogisticRegression(C=inverse_penalty, max_iter=_MAX_ITERATIONS, warm_start=True)


def _fit_regression(regression: Any, task: FewShotTask) -> Any:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # The bound on the iterations is part of the method, and the record names it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # At one shot scikit-learn takes the class ids for targets of a regression.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return regression.fit(task.embeddings, task.labels)


def _classifier(
    regression: Any, num_classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns weights `(classes, dim)` and biases `(classes,)` with the regression's softmax."""
    present_weights, present_bias = regression.coef_, regression.intercept_
    if len(present_weights) == 1:
        # Of two classes scikit-learn keeps only the difference, the logit of a sigmoid.
        present_weights = np.concatenate([0 * present_weights, present_weights])
        present_bias = np.concatenate([0 * present_bias, present_bias])
    weights = np.zeros((num_classes, present_weights.shape[1]))
    bias = np.full(num_classes, _ABSENT_LOGIT)
    weights[regression.classes_], bias[regression.classes_] = present_weights, present_bias
    return weights, bias
