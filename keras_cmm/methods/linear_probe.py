"""Linear probe: logistic regression on the support set alone."""

from __future__ import annotations

import copy
import warnings
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from keras_cmm.errors import InputError
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead
from keras_cmm.methods.selection import tuning_task

_INVERSE_PENALTIES = (1.0, 10.0, 100.0)
_DEFAULT_INVERSE_PENALTY = 10.0
_MAX_ITERATIONS = 100

# Below any logit of a trained class, finite so that softmax and cross-entropy stay finite too.
_ABSENT_LOGIT = -1e4


class LinearProbe(LinearHead):
    """Multinomial logistic regression by L-BFGS (scikit-learn), without the class texts.

    The inverse L2 penalty C is chosen among 1, 10 and 100 by top-1 accuracy on few-shot
    validation; where there is none it is 10. A class without a support row gets the logit -1e4 and
    is never predicted.

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

    def fit(self, task: FewShotTask) -> Self:
        """Choose C and fit the weights.

        Args:
            task: The support set and validation rows.

        Returns:
            The method itself, fitted.

        Raises:
            InputError: If fewer than two classes have a support row.
        """
        present = np.unique(task.labels)
        if len(present) < 2:
            raise InputError(
                f"`{self.name}` needs support rows of two classes or more. Received: {len(present)}"
            )
        tuning, selection = tuning_task(task)
        if tuning is None:
            regression = _fit(_new_regression(_DEFAULT_INVERSE_PENALTY), task)
        else:
            regression = _search_inverse_penalty(tuning)
            if tuning is not task:
                # From zero: started at the held-out solution, L-BFGS may stop where it stands.
                regression = _fit(_new_regression(regression.C), task)
        self.weights_ = np.zeros(task.text_embeddings.shape, dtype="float32")
        self.bias_ = np.full(task.num_classes, _ABSENT_LOGIT, dtype="float32")
        self.weights_[present], self.bias_[present] = _softmax_weights(regression)
        self.hyperparameters_ = {
            "C": regression.C,
            "iterations": int(regression.n_iter_[0]),
            "max_iterations": _MAX_ITERATIONS,
            "selection": selection,
        }
        return self


def _new_regression(inverse_penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    # Each fit starts where the last one ended: a path over C costs little more than its last step.
    return LogisticRegression(C=inverse_penalty, max_iter=_MAX_ITERATIONS, warm_start=True)


def _fit(regression: Any, task: FewShotTask) -> Any:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # The cap on iterations is part of the method and stands in the record.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # At one shot scikit-learn suspects a regression.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return regression.fit(task.embeddings, task.labels)


def _search_inverse_penalty(tuning: FewShotTask) -> Any:
    """Return the regression with the highest top-1 accuracy, on a tie the smallest C."""
    regression = _new_regression(_INVERSE_PENALTIES[0])
    best, best_accuracy = regression, -1.0
    for inverse_penalty in _INVERSE_PENALTIES:
        _fit(regression.set_params(C=inverse_penalty), tuning)
        accuracy = np.mean(regression.predict(tuning.val_embeddings) == tuning.val_labels)
        if accuracy > best_accuracy:
            best, best_accuracy = copy.deepcopy(regression), accuracy
    return best


def _softmax_weights(regression: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return weights `(present classes, dim)` and biases whose softmax is the regression's."""
    weights, bias = regression.coef_, regression.intercept_
    if len(weights) == 1:  # Two classes: scikit-learn keeps only the difference, a sigmoid's logit.
        weights, bias = np.concatenate([0 * weights, weights]), np.concatenate([0 * bias, bias])
    return weights.astype("float32"), bias.astype("float32")
