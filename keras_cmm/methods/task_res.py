"""TaskRes: a trained residual on every class text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead
from keras_cmm.methods.residual_texts import ResidualTexts
from keras_cmm.methods.selection import best_on_validation, tuning_task
from keras_cmm.methods.support_training import SupportTraining

DEFAULT_ALPHA = 0.5

_ALPHAS = (0.1, 0.5, 1.0, 2.0)


@dataclass(eq=False)
class TaskRes(SupportTraining, LinearHead):
    """TaskRes: `logit_scale * x @ normalize(T0 + alpha * R).T`, R trained from 0.

    Trained by cross-entropy, Adam and a cosine schedule to 0. alpha is chosen among 0.1, 0.5, 1 and
    2 by top-1 on few-shot validation; without validation rows it is 0.5, as in the paper. The
    residual of a class without a support row stays 0.

    Args:
        learning_rate: Initial learning rate. The authors take 2e-3, for texts that are not of unit
            length, but of about 10.
        epochs: Passes over the support set.
        batch_size: Support rows a step.
        max_steps: Largest number of steps; a large support set gets fewer passes.

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

    learning_rate: float = 2e-4
    epochs: int = 100
    batch_size: int = 256
    max_steps: int = 600

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        tuning, selection = tuning_task(task)
        alpha = DEFAULT_ALPHA if tuning is None else best_on_validation(tuning, self._grid_logits)
        model = ResidualTexts(task, alpha)
        epochs = self._train(model, task)
        self.weights_ = model.weights_with_scale()
        return {
            "alpha": alpha,
            "learning_rate": self.learning_rate,
            "epochs": epochs,
            "batch_size": self.batch_size,
            "selection": selection,
        }

    def _grid_logits(
        self, tuning: FewShotTask, images: npt.NDArray[np.float32]
    ) -> Iterator[tuple[float, npt.NDArray[np.float32]]]:
        for alpha in _ALPHAS:
            model = ResidualTexts(tuning, alpha)
            self._train(model, tuning)
            yield alpha, images @ model.weights_with_scale().T
