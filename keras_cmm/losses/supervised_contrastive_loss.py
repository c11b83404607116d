"""The contrastive loss between the images of a batch."""

from __future__ import annotations

import numbers
from typing import Any

import keras
from keras import ops

from keras_cmm.losses.class_ids import class_ids


@keras.saving.register_keras_serializable(package="keras_cmm")
class SupervisedContrastiveLoss(keras.losses.Loss):
    """Pulls the images of a class together and away from those of other classes.

    Each image of a batch is told from all others by a softmax over `z_i . z_j / temperature`, and
    its loss is the mean of `-log` of the probability of those of its class. An image that is alone
    of its class in the batch has a loss of 0, so the mean over a batch weighs this loss by how many
    images have company. An image of sample weight 0 is still compared with.

    Args:
        temperature: float > 0. What the products of the embeddings are divided by.
        name: str, the name of the loss.
        reduction: how Keras reduces the per-sample values, see `keras.losses.Loss`.
        dtype: the dtype of the computation. `None` means float32, whatever `keras.config.floatx()`
            is: in half precision large class ids would be rounded.

    Call arguments:
        y_true: class ids `(batch,)` or `(batch, 1)`, or one-hot labels `(batch, classes)`. Of soft
            labels, the largest entry counts.
        y_pred: embeddings `(batch, dim)`, of unit length where cosines are meant.

    Raises:
        ValueError: if `temperature` is out of range, or `y_pred` does not have rank 2.

    Example:
        >>> from keras_cmm.losses import SupervisedContrastiveLoss
        >>> loss = SupervisedContrastiveLoss(temperature=0.5)
        >>> print(round(float(loss([0, 0, 1], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])), 3))
        0.085

    References:
        - [Khosla et al., Supervised Contrastive Learning, arXiv:2004.11362](
          https://arxiv.org/abs/2004.11362), equation 2, without its factor of the temperature.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        name: str = "supervised_contrastive_loss",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype or "float32")
        if not isinstance(temperature, float | numbers.Real) or not temperature > 0:
            raise ValueError(f"`temperature` must be a float > 0. Received: {temperature=}")
        self.temperature = float(temperature)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns one loss value per sample, `(batch,)`."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if len(y_pred.shape) != 2:
            raise ValueError(
                "`y_pred` must be embeddings of shape (batch, dim). "
                f"Received: y_pred of shape {tuple(y_pred.shape)}"
            )
        embeddings = ops.cast(y_pred, "float32")
        ids = class_ids(y_true)
        logits = ops.matmul(embeddings, ops.transpose(embeddings)) / self.temperature
        rows = ops.arange(ops.shape(ids)[0])
        others = ops.not_equal(rows[:, None], rows[None])
        same = ops.logical_and(others, ops.equal(ids[:, None], ids[None]))
        # Finite, because an image that is alone in its batch has no other at all.
        log_softmax = ops.log_softmax(ops.where(others, logits, -1e9), axis=-1)
        positives = ops.sum(ops.where(same, log_softmax, 0.0), axis=-1)
        count = ops.sum(ops.cast(same, "float32"), axis=-1)
        return -positives / ops.maximum(count, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        config = super().get_config()
        config.update({"temperature": self.temperature, "dtype": self.dtype})
        return config
