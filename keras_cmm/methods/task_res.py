"""TaskRes: a trained residual on every class text."""

from __future__ import annotations

from typing import ClassVar, Self

import keras
import numpy as np

from keras_cmm.methods.checks import check_support
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead
from keras_cmm.methods.residual_texts import ResidualTexts
from keras_cmm.methods.selection import tuning_task
from keras_cmm.methods.training import train_on_support

DEFAULT_ALPHA = 0.5

_ALPHAS = (0.1, 0.5, 1.0, 2.0)


class TaskRes(LinearHead):
    """TaskRes: `logit_scale * x @ normalize(T0 + alpha * R).T`, R trained from 0.

    Trained by cross-entropy, Adam and a cosine schedule to 0. alpha is chosen by top-1 accuracy on
    few-shot validation among 0.1, 0.5, 1 and 2; where there is none it is 0.5, as in the paper. The
    residual of a class without a support row stays 0.

    Args:
        learning_rate: Initial learning rate. The authors' is 2e-3 on texts that are not of unit
            length, but of about 10.
        epochs: Passes over the support set.
        batch_size: Support rows a step.
        max_steps: Bounds the passes over a large support set.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> TaskRes(epochs=1).fit(task).predict_logits(eye).argmax(axis=1)
        array([0, 1])

    References:
        Yu et al., "Task Residual for Tuning Vision-Language Models", CVPR 2023, arXiv:2211.10277,
        equation 4; https://github.com/geekyutao/TaskRes, trainers/taskres.py.
    """

    name: ClassVar[str] = "task_res"

    def __init__(
        self,
        learning_rate: float = 2e-4,
        epochs: int = 100,
        batch_size: int = 256,
        max_steps: int = 600,
    ) -> None:
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.max_steps = max_steps

    def fit(self, task: FewShotTask) -> Self:
        """Choose alpha and train the residuals.

        Args:
            task: The support set, class texts and validation rows.

        Returns:
            The method itself, fitted.

        Raises:
            InputError: If the support set is empty.
        """
        check_support(self, task)
        tuning, selection = tuning_task(task)
        alpha = DEFAULT_ALPHA if tuning is None else self._search_alpha(tuning)
        model, epochs = self._train(task, alpha)
        self.weights_ = model.weights_with_scale()
        self.hyperparameters_ = {
            "alpha": alpha,
            "learning_rate": self.learning_rate,
            "epochs": epochs,
            "batch_size": self.batch_size,
            "selection": selection,
        }
        return self

    def _train(self, task: FewShotTask, alpha: float) -> tuple[ResidualTexts, int]:
        model = ResidualTexts(task, alpha)
        epochs = train_on_support(
            model,
            task,
            keras.optimizers.Adam,
            epochs=self.epochs,
            batch_size=self.batch_size,
            max_steps=self.max_steps,
            learning_rate=self.learning_rate,
        )
        return model, epochs

    def _search_alpha(self, tuning: FewShotTask) -> float:
        """Return the smallest alpha with the highest top-1 accuracy on validation."""
        assert tuning.val_embeddings is not None
        hits = []
        for alpha in _ALPHAS:
            weights = self._train(tuning, alpha)[0].weights_with_scale()
            predicted = (tuning.val_embeddings @ weights.T).argmax(axis=1)
            hits.append(np.count_nonzero(predicted == tuning.val_labels))
        return _ALPHAS[int(np.argmax(hits))]
