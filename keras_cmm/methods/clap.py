"""CLAP: a linear probe that a penalty holds near the class texts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead
from keras_cmm.methods.residual_texts import ResidualTexts
from keras_cmm.methods.support_training import SupportTraining


@dataclass(eq=False)
class CLAP(SupportTraining, LinearHead):
    """CLAP: a linear probe W that starts at the class texts T0, with a penalty that holds it there.

    The logits are `logit_scale * x @ normalize(W).T`. The loss is cross-entropy plus the mean over
    classes of `lambda_c * text_length^2 * ||W_c - T0_c||^2`, where lambda_c is the mean zero-shot
    probability of class c on its own support rows: the better CLIP knows a class, the less its
    weights move. Trained by SGD with momentum and a cosine schedule to 0. Nothing is chosen on
    validation. The weights of a class without a support row stay at its text.

    Args:
        learning_rate: Initial learning rate for texts of the length `text_length`, as in the
            authors' code.
        momentum: Momentum of SGD.
        text_length: The authors train texts of CLIP's own length, which unit rows no longer show.
            To train unit rows in the same way, the penalty is multiplied by the square of that
            length and the learning rate is divided by it. 10 is our assumption.
        epochs: Passes over the support set.
        batch_size: Support rows a step.
        max_steps: Largest number of steps; a large support set gets fewer passes. The authors have
            no such bound.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> CLAP(epochs=1).fit(task).predict_logits(eye).argmax(axis=1)
        array([0, 1])

    References:
        Silva-Rodriguez et al., "A Closer Look at the Few-Shot Adaptation of Large Vision-Language
        Models", CVPR 2024, arXiv:2312.12730; https://github.com/jusiro/CLAP, trainers/adapters.py
        with the constraint "l2".
    """

    name: ClassVar[str] = "clap"

    learning_rate: float = 0.1
    momentum: float = 0.9
    text_length: float = 10.0
    epochs: int = 300
    batch_size: int = 256
    max_steps: int = 1200

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        multipliers = _zero_shot_probabilities(task)
        model = ResidualTexts(
            task, penalties=self.text_length**2 * multipliers / np.float32(task.num_classes)
        )
        epochs = self._train(
            model,
            task,
            partial(keras.optimizers.SGD, momentum=self.momentum),
            learning_rate=self.learning_rate / self.text_length**2,
        )
        self.weights_ = model.weights_with_scale()
        return {
            "learning_rate": self.learning_rate,
            "momentum": self.momentum,
            "text_length": self.text_length,
            "epochs": epochs,
            "batch_size": self.batch_size,
            "mean_multiplier": float(multipliers.mean()),
            "selection": "fixed",
        }


def _zero_shot_probabilities(task: FewShotTask) -> npt.NDArray[np.float32]:
    """Returns the mean zero-shot probability of each class on its own rows, 0 without rows."""
    from scipy.special import softmax

    logits = np.float32(task.logit_scale) * task.embeddings @ task.text_embeddings.T
    own = softmax(logits, axis=1)[np.arange(len(task.labels)), task.labels]
    sums = np.bincount(task.labels, weights=own, minlength=task.num_classes)
    return (sums / np.maximum(task.rows_per_class, 1)).astype("float32")
