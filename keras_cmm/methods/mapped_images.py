"""The base of methods that map image embeddings and leave the class texts as they are."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_method import FewShotMethod

# No direction is lost by it, and a row of zeros divides nothing by zero.
_LEAST_LENGTH = 1e-12


class MappedImages(FewShotMethod):
    """A method whose logits are `normalize(map(x)) @ text_weights_.T`.

    `_fit` sets `text_weights_`, float32 `(classes, dim)`: the texts times the logit scale.
    """

    text_weights_: npt.NDArray[np.float32]

    @abstractmethod
    def _mapped(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Returns the mapped image embeddings, of any length, shape `(batch, dim)`."""

    def _logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        units, _ = split_lengths(self._mapped(embeddings))
        return units @ self.text_weights_.T


def split_lengths(
    rows: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns the rows at unit length, and their lengths, shape `(rows, 1)`."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(_LEAST_LENGTH))
    return rows / lengths, lengths


def gradient_before_scaling(
    gradient: npt.NDArray[np.float32],
    units: npt.NDArray[np.float32],
    lengths: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Returns the gradient by rows, from the gradient by `units`, the same rows at unit length."""
    along = np.sum(gradient * units, axis=1, keepdims=True)
    return (gradient - along * units) / lengths


def cross_entropy_gradient(
    mapped: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer],
    text_weights: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Returns the gradient of the mean cross-entropy of `normalize(mapped) @ text_weights.T`.

    Args:
        mapped: Mapped image embeddings, shape `(batch, dim)`.
        labels: Class of each row, shape `(batch,)`.
        text_weights: Class texts times the logit scale, shape `(classes, dim)`.

    Returns:
        The gradient by `mapped`, shape `(batch, dim)`.
    """
    units, lengths = split_lengths(mapped)
    errors = units @ text_weights.T
    errors -= errors.max(axis=1, keepdims=True)
    np.exp(errors, out=errors)
    errors /= errors.sum(axis=1, keepdims=True)
    errors[np.arange(len(labels)), labels] -= 1
    errors *= np.float32(1 / len(labels))
    by_units = np.asarray(errors @ text_weights, dtype="float32")
    return gradient_before_scaling(by_units, units, lengths)
