"""What a recipe needs of the classifier that it trains."""

from __future__ import annotations

from typing import Any, Protocol, Self

import keras
import numpy as np
import numpy.typing as npt


class Head(Protocol):
    """A built classifier from image embeddings to fused logits, such as `CMMClassifier`.

    The recipes know the models by this interface alone, because the models import the recipes.
    """

    num_classes: int
    built: bool
    is_trained: bool
    mapping: Any
    prototypes: Any
    logit_scale: float
    alpha: float
    clip_weight: float
    temperature: float
    train_temperature: float
    train_offsets: Any

    @property
    def text_embeddings(self) -> npt.NDArray[np.float32]:
        """The frozen text embeddings of the classes, `(num_classes, dim)`, of unit length."""

    def copy_untrained(self) -> Self:
        """Returns a new head of the same settings and texts, which knows no image."""

    def compile(self, **arguments: Any) -> None:
        """As of `keras.Model`."""

    def fit(self, x: Any, **arguments: Any) -> keras.callbacks.History:
        """As of `keras.Model`."""

    def predict(self, x: Any, **arguments: Any) -> Any:
        """As of `keras.Model`."""

    def get_weights(self) -> list[Any]:
        """As of `keras.Model`."""

    def set_weights(self, weights: list[Any]) -> None:
        """As of `keras.Model`."""
