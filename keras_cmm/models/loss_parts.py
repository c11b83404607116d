"""The parts of the loss of a `CMMClassifier`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

# What the loss is the weighted sum of, as the history names it.
PARTS = ("cross_entropy", "triplet", "contrastive")


class LossParts(keras.metrics.Metric):
    """Keeps the running means of the parts. One metric costs a third of three."""

    def __init__(self) -> None:
        super().__init__(name="loss_parts", dtype="float32")
        self.total = self.add_variable(shape=(len(PARTS),), initializer="zeros", name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update_state(self, parts: Sequence[Any], batch_size: Any) -> None:
        """Adds the parts of the loss of one batch."""
        batch_size = ops.cast(batch_size, "float32")
        self.total.assign_add(ops.stack([ops.cast(part, "float32") for part in parts]) * batch_size)
        self.count.assign_add(batch_size)

    def result(self) -> dict[str, Any]:
        """Returns the mean of each part by name."""
        means = ops.unstack(ops.divide_no_nan(self.total, self.count))
        return dict(zip(PARTS, means, strict=True))
