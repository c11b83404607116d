"""The batches of a training of so many steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.recipes import ShuffledBatches
from keras_cmm_runtime.utils.check_number import check_int, check_number


class StepTraining:
    """Mixin of methods that train by so many steps of Adam, with gradients written out.

    Attributes:
        learning_rate: Initial learning rate.
        batch_size: Support rows a step.
    """

    learning_rate: float
    batch_size: int

    def __post_init__(self) -> None:
        """Refuses settings that nothing can be trained with."""
        check_number("learning_rate", self.learning_rate, ">= 0")
        check_int("batch_size", self.batch_size, 1)
        if hasattr(self, "steps"):
            check_int("steps", self.steps, 1)
        if hasattr(self, "weight_decay"):
            check_number("weight_decay", self.weight_decay, ">= 0")

    def _batches(
        self, task: FewShotTask, steps: int
    ) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.integer]]]:
        """Yields the support rows and labels of each step. Every pass has an order of its own."""
        batches = ShuffledBatches(task.embeddings, task.labels, self.batch_size, task.seed)
        for step in range(steps):
            if step and step % len(batches) == 0:
                batches.on_epoch_end()
            embeddings, labels = batches[step % len(batches)]
            yield embeddings, labels
