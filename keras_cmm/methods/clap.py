"""CLAP: a linear probe held to the class texts."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.methods.checks import check_support
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_head import LinearHead
from keras_cmm.methods.residual_texts import ResidualTexts
from keras_cmm.methods.training import train_on_support


class CLAP(LinearHead):
    """CLAP: prototypes W that start at the class texts T0 and are held to them class by class.

    Logits are `logit_scale * x @ normalize(W).T`; the loss is cross-entropy plus the mean over
    classes of `lambda_c * text_length^2 * ||W_c - T0_c||^2`, where lambda_c is the mean zero-shot
    probability of class c on its own support rows: what CLIP knows is held tight. Trained by SGD
    with momentum and a cosine schedule to 0. Nothing is chosen on validation. The prototype of a
    class without a support row stays at its text.

    Args:
        learning_rate: Initial learning rate for texts of the length below, as in the authors' code.
        momentum: Momentum of SGD.
        text_length: The authors train texts of the length that CLIP gives them, which unit rows do
            not tell. To train unit rows alike, the penalty is multiplied, and the learning rate
            divided, by the square of that length. 10 is our assumption.
        epochs: Passes over the support set.
        batch_size: Support rows a step.
        max_steps: Bounds the passes over a large support set; the authors have no bound.

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

    def __init__(
        self,
        learning_rate: float = 0.1,
        momentum: float = 0.9,
        text_length: float = 10.0,
        epochs: int = 300,
        batch_size: int = 256,
        max_steps: int = 1200,
    ) -> None:
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.text_length = text_length
        self.epochs = epochs
        self.batch_size = batch_size
        self.max_steps = max_steps

    def fit(self, task: FewShotTask) -> Self:
        """Train the prototypes.

        Args:
            task: The support set and class texts.

        Returns:
            The method itself, fitted.

        Raises:
            InputError: If the support set is empty.
        """
        check_support(self, task)
        multipliers = _zero_shot_probabilities(task)
        model = ResidualTexts(
            task, penalties=self.text_length**2 * multipliers / np.float32(task.num_classes)
        )
        epochs = train_on_support(
            model,
            task,
            partial(keras.optimizers.SGD, momentum=self.momentum),
            epochs=self.epochs,
            batch_size=self.batch_size,
            max_steps=self.max_steps,
            learning_rate=self.learning_rate / self.text_length**2,
        )
        self.weights_ = model.weights_with_scale()
        self.hyperparameters_ = {
            "learning_rate": self.learning_rate,
            "momentum": self.momentum,
            "text_length": self.text_length,
            "epochs": epochs,
            "batch_size": self.batch_size,
            "mean_multiplier": float(multipliers.mean()),
            "selection": "fixed",
        }
        return self


def _zero_shot_probabilities(task: FewShotTask) -> npt.NDArray[np.float32]:
    """Return the mean zero-shot probability of each class on its own rows, 0 without rows."""
    from scipy.special import softmax

    logits = np.float32(task.logit_scale) * task.embeddings @ task.text_embeddings.T
    own = softmax(logits, axis=1)[np.arange(len(task.labels)), task.labels]
    sums = np.bincount(task.labels, weights=own, minlength=task.num_classes)
    counts = np.bincount(task.labels, minlength=task.num_classes)
    return (sums / np.maximum(counts, 1)).astype("float32")
