"""What a recipe needs of the classifier that it trains."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.unknowns import HeldOutScores


class Head(Protocol):
    """A built classifier from image embeddings to fused logits, such as `CMMClassifier`.

    The recipes know the models by this interface alone, because the models import the recipes.
    """

    num_classes: int
    also_dim: int
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
    held_out_scores: HeldOutScores | None
    # As of `keras.Model`.
    compile: Any
    fit: Any
    predict: Any
    get_weights: Any
    set_weights: Any

    @property
    def text_embeddings(self) -> npt.NDArray[np.float32]:
        """The frozen text embeddings of the classes, `(num_classes, dim)`, of unit length."""

    def copy_untrained(self) -> Self:
        """Returns a new head of the same settings and texts, which knows no image."""

    def remember_images(self, embeddings: npt.NDArray[np.floating]) -> None:
        """Keeps what is needed of the training images to add a class later."""
