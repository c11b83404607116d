"""How long and how fast a CMM head is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.recipes.shuffled_batches import ShuffledBatches

if TYPE_CHECKING:
    from keras_cmm.models.cmm_classifier import CMMClassifier


@dataclass(frozen=True)
class TrainingRecipe:
    """The plain CMM recipe: AdamW with a cosine schedule over a number of epochs.

    The paper publishes none of these values; they are this project's own.

    Args:
        learning_rate: float > 0. The peak learning rate, which falls to 0 along a cosine.
        weight_decay: float >= 0. AdamW's decoupled weight decay.
        epochs: int >= 1. Passes over the support set.
        min_steps: int. A support set so small that `epochs` passes make fewer steps gets more
            epochs, until it has this many.
        batch_size: int >= 1. Samples per step.
        max_steps: int or `None`. An epoch ends after this many steps; the next one draws anew.

    Example:
        >>> from keras_cmm import TrainingRecipe
        >>> TrainingRecipe().epochs_for(47), TrainingRecipe().epochs_for(4000)
        (100, 30)
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    epochs: int = 30
    min_steps: int = 100
    batch_size: int = 256
    max_steps: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("min_steps", 0), ("max_steps", 1)):
            value = getattr(self, name)
            if name == "max_steps" and value is None:
                continue
            if not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"`{name}` must be an int >= {least}. Received: {name}={value!r}")
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if not isinstance(value, int | float | np.number) or not value >= 0:
                raise ValueError(f"`{name}` must be a float >= 0. Received: {name}={value!r}")

    def epochs_for(self, num_samples: int) -> int:
        """Returns the number of epochs for a support set of `num_samples` rows."""
        return max(self.epochs, math.ceil(self.min_steps / self.steps_per_epoch(num_samples)))

    def steps_per_epoch(self, num_samples: int) -> int:
        """Returns the number of steps in one epoch on `num_samples` rows."""
        steps = max(1, math.ceil(num_samples / self.batch_size))
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def optimizer_for(self, num_samples: int, epochs: int | None = None) -> keras.Optimizer:
        """Returns AdamW with a cosine that ends with the last of `epochs` epochs.

        Args:
            num_samples: int. Rows of the support set.
            epochs: int or `None`. `None` takes `epochs_for(num_samples)`.
        """
        epochs = epochs or self.epochs_for(num_samples)
        schedule = keras.optimizers.schedules.CosineDecay(
            self.learning_rate, decay_steps=epochs * self.steps_per_epoch(num_samples)
        )
        return keras.optimizers.AdamW(schedule, weight_decay=self.weight_decay)

    def start(
        self,
        head: CMMClassifier,
        embeddings: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[Any],
    ) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[Any], float]:
        """Prepares a head for training; the plain recipe leaves it at its text embeddings.

        Args:
            head: a built classifier.
            embeddings: support set, array-like of shape `(images, dim)`.
            labels: array-like of shape `(images,)`, class ids.

        Returns:
            The rows to train on, their class ids and the peak learning rate.
        """
        rows = np.asarray(ops.convert_to_numpy(embeddings))
        return rows, np.asarray(ops.convert_to_numpy(labels)), self.learning_rate

    def train(
        self,
        head: CMMClassifier,
        embeddings: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[Any],
        learning_rate: float,
        seed: int,
    ) -> int:
        """Compiles a head that `start` has prepared, and trains it on what that returned.

        Args:
            head: a built classifier.
            embeddings: `(rows, dim)`.
            labels: `(rows,)` class ids.
            learning_rate: float >= 0. The peak learning rate.
            seed: int. Seed of the order of the rows.

        Returns:
            The number of epochs.
        """
        epochs = self.epochs_for(len(labels))
        used = replace(self, learning_rate=learning_rate)
        head.compile(optimizer=used.optimizer_for(len(labels), epochs), metrics=None)
        batches = ShuffledBatches(
            embeddings, labels, self.batch_size, seed, max_steps=self.max_steps
        )
        head.fit(batches, epochs=epochs, shuffle=False, verbose=0)
        return epochs
