"""The training that all methods with a Keras model share."""

from __future__ import annotations

from collections.abc import Callable

import keras

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.recipes import ShuffledBatches
from keras_cmm_runtime.utils.check_number import check_int, check_number

# Those of `SupportTraining`, and those that some of its methods have.
_ALLOWED = {
    "learning_rate": ">= 0",
    "weight_decay": ">= 0",
    "momentum": "in [0, 1)",
    "text_length": "> 0",
}


class SupportTraining:
    """Mixin of methods that train a Keras model on the support set.

    Attributes:
        learning_rate: Initial learning rate.
        epochs: Passes over the support set.
        batch_size: Support rows a step.
        max_steps: Largest number of steps, or `None`. A support set on which `epochs` passes take
            more steps gets fewer passes.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    max_steps: int | None = None

    def __post_init__(self) -> None:
        """Refuses settings that no model can be trained with."""
        for name in ("epochs", "batch_size", "max_steps"):
            if name != "max_steps" or self.max_steps is not None:
                check_int(name, getattr(self, name), 1)
        for name, allowed in _ALLOWED.items():
            if hasattr(self, name):
                check_number(name, getattr(self, name), allowed)

    def _train(
        self,
        model: keras.Model,
        task: FewShotTask,
        optimizer: Callable[..., keras.Optimizer] = keras.optimizers.Adam,
        learning_rate: float | None = None,
    ) -> int:
        """Trains by cross-entropy with a cosine schedule to 0.

        Args:
            model: Returns logits `(batch, classes)` for embeddings `(batch, dim)`.
            task: Gives the support set, and the seed of the order of its rows.
            optimizer: Makes an optimizer from a learning rate schedule.
            learning_rate: Replaces `self.learning_rate`.

        Returns:
            The number of epochs.
        """
        batches = ShuffledBatches(task.embeddings, task.labels, self.batch_size, task.seed)
        epochs = self.epochs
        if self.max_steps is not None:
            epochs = max(1, min(epochs, self.max_steps // len(batches)))
        schedule = keras.optimizers.schedules.CosineDecay(
            self.learning_rate if learning_rate is None else learning_rate,
            decay_steps=epochs * len(batches),
        )
        model.compile(
            optimizer=optimizer(schedule),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
        return epochs
