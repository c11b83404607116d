"""Training data in an order of its own every epoch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.utils.lazy_rows import LazyRows


class ShuffledBatches(keras.utils.PyDataset):
    """Rows in batches, in a new order every epoch, for `keras.Model.fit` with `shuffle=False`.

    The orders depend on the seed alone: not on the backend, and no global random generator is
    touched.

    Args:
        x: array of inputs, shape `(rows, ...)`, or `LazyRows`, of which a batch is read at a time.
        y: class ids, shape `(rows,)`.
        batch_size: int. Rows a step; the last step of an epoch may have fewer.
        seed: int. Seed of the orders.
        sample_weight: weights, shape `(rows,)`, or `None`.
        max_steps: int or `None`. An epoch is no more than the first so many steps of its order.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.recipes import ShuffledBatches
        >>> batches = ShuffledBatches(np.eye(3), np.arange(3), batch_size=2, seed=1)
        >>> [len(labels) for _, labels in batches]
        [2, 1]
    """

    def __init__(
        self,
        x: npt.NDArray[Any] | LazyRows,
        y: npt.NDArray[np.integer],
        batch_size: int,
        seed: int,
        sample_weight: Any = None,
        max_steps: int | None = None,
    ) -> None:
        super().__init__()
        self._x: Any = x
        self._y = np.asarray(y, dtype="int32")
        self._batch_size = batch_size
        self._max_steps = max_steps
        self._generator = np.random.default_rng(seed)
        self._sample_weight = None if sample_weight is None else np.asarray(sample_weight)
        self.on_epoch_end()

    def __len__(self) -> int:
        steps = -(-len(self._y) // self._batch_size)
        return steps if self._max_steps is None else min(steps, self._max_steps)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        batch = (self._inputs(rows), self._y[rows])
        return batch if self._sample_weight is None else (*batch, self._sample_weight[rows])

    def on_epoch_end(self) -> None:
        """Draws the order of the next epoch."""
        self._order = self._generator.permutation(len(self._y))

    def _inputs(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        return np.asarray(self._x[rows])
