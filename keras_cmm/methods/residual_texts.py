"""Class texts with a trained residual each: the model of TaskRes and of CLAP."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.methods.few_shot_task import FewShotTask


class ResidualTexts(keras.Model):
    """Returns the logits `logit_scale * x @ normalize(T0 + scale * R).T`, with R trained from 0.

    The residual of a class without a support row stays 0, because cross-entropy could only push its
    text away from the images.

    Args:
        task: Gives the class texts, the logit scale and which classes have support rows.
        scale: Fixed factor of the residuals.
        penalties: Shape `(classes,)`. Adds `sum_c penalties[c] * ||R_c||^2` to the loss.
    """

    def __init__(
        self,
        task: FewShotTask,
        scale: float = 1.0,
        penalties: npt.NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__(dtype="float32")
        self.factors = np.float32(scale) * (task.rows_per_class > 0)[:, None].astype("float32")
        self.texts = task.text_embeddings
        self.logit_scale = float(task.logit_scale)
        self.residuals = self.add_weight(
            shape=task.text_embeddings.shape,
            initializer="zeros",
            regularizer=None if penalties is None else _WeightedSquares(penalties),
            name="residuals",
        )

    def call(self, inputs: Any) -> Any:
        """Returns the logits, `(batch, classes)`, of image embeddings."""
        prototypes = ops.add(self.texts, ops.multiply(self.factors, self.residuals))
        prototypes = ops.normalize(prototypes, axis=-1)
        return self.logit_scale * ops.matmul(inputs, ops.transpose(prototypes))

    def weights_with_scale(self) -> npt.NDArray[np.float32]:
        """Returns the trained classifier, `logit_scale` included, shape `(classes, dim)`."""
        prototypes = self.texts + self.factors * ops.convert_to_numpy(self.residuals.value)
        lengths = np.linalg.norm(prototypes, axis=1, keepdims=True)
        return np.asarray(np.float32(self.logit_scale) * prototypes / lengths, dtype="float32")


class _WeightedSquares(keras.regularizers.Regularizer):
    def __init__(self, penalties: npt.NDArray[np.float32]) -> None:
        self.penalties = penalties[:, None].astype("float32")

    def __call__(self, x: Any) -> Any:
        return ops.sum(ops.multiply(self.penalties, ops.square(x)))
