"""The one interface behind which all few-shot methods stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask


class FewShotMethod(ABC):
    """A classifier on frozen embeddings: fit on a support set, then predict logits.

    A subclass is constructed with its settings, keeps them under their own names, and `fit` sets
    what was learned in attributes that end in an underscore.

    Attributes:
        name: Key of the method in `keras_cmm.methods.METHODS`, in records and on the command line.
        temperature_: Set by `fit` of a method that fits one: what to divide the logits by for
            calibrated probabilities.
        hyperparameters_: Set by `fit`: every value used, JSON-able, and under `"selection"` how
            the values were chosen: `"fixed"` or `"few-shot validation: ..."`.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.methods import FewShotTask, ZeroShot
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> ZeroShot().fit(task).predict_logits(eye)
        array([[100.,   0.],
               [  0., 100.]], dtype=float32)
    """

    name: ClassVar[str]
    hyperparameters_: dict[str, object]
    temperature_: float | None = None

    @abstractmethod
    def fit(self, task: FewShotTask) -> Self:
        """Fit on the support set, choosing hyper-parameters on nothing but the task.

        Args:
            task: The support set, class texts and validation rows.

        Returns:
            The method itself, fitted.
        """

    @abstractmethod
    def predict_logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Score every class.

        Args:
            embeddings: Unit-length float32 image embeddings, shape `(batch, dim)`.

        Returns:
            float32 logits, shape `(batch, classes)`: softmax gives probabilities.
        """
