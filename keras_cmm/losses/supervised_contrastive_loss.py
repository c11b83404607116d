"""The contrastive loss between the images of a batch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_cmm.losses.inputs import checked_inputs, class_ids, is_finite_number


@keras.saving.register_keras_serializable(package="keras_cmm")
class SupervisedContrastiveLoss(keras.losses.Loss):
    """Pulls the images of a class together and away from those of other classes.

    For each image `z_i`, a softmax over `z_i . z_j / temperature` gives probabilities to all other
    images `z_j` of the batch. The loss of the image is the mean of `-log` of the probabilities of
    the images of its class. An image that has no other of its class in the batch has a loss of 0,
    and still counts in the mean over the batch. The others are compared with an image of sample
    weight 0 too.

    Args:
        temperature: float > 0. Divides the products of the embeddings.
        name, reduction: see `keras.losses.Loss`.
        dtype: dtype of the computation. `None` means float32: half precision rounds large ids.

    Call arguments:
        y_true: class ids `(batch,)` or `(batch, 1)`, or one-hot labels `(batch, classes)`. Of soft
            labels, the largest entry counts.
        y_pred: embeddings `(batch, dim)`. Scale them to unit length to compare by cosine.

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
        if not is_finite_number(temperature) or temperature <= 0:
            raise ValueError(f"`temperature` must be a float > 0. Received: {temperature=}")
        self.temperature = float(temperature)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns one loss value per sample, `(batch,)`."""
        y_true, embeddings = checked_inputs(y_true, y_pred, "embeddings of shape (batch, dim)")
        ids = class_ids(y_true)
        logits = ops.matmul(embeddings, ops.transpose(embeddings)) / self.temperature
        rows = ops.arange(ops.shape(ids)[0])
        others = ops.not_equal(rows[:, None], rows[None])
        same = ops.logical_and(others, ops.equal(ids[:, None], ids[None]))
        # Finite, for a batch of one image, where the softmax has nothing else.
        log_softmax = ops.log_softmax(ops.where(others, logits, -1e9), axis=-1)
        positives = ops.sum(ops.where(same, log_softmax, 0.0), axis=-1)
        count = ops.sum(ops.cast(same, "float32"), axis=-1)
        return -positives / ops.maximum(count, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return super().get_config() | {"temperature": self.temperature, "dtype": self.dtype}
