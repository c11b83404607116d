"""The support set as training data."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask


class ShuffledBatches(keras.utils.PyDataset):
    """The support set in batches, in a new order every epoch.

    The orders depend on the task's seed alone: not on the backend, and no global random generator
    is touched. Give it to `keras.Model.fit` with `shuffle=False`.

    Args:
        task: The task whose support set is trained on.
        batch_size: Support rows a step; the last step of an epoch may have fewer.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(3, dtype="float32")
        >>> task = FewShotTask(eye, np.arange(3), eye, logit_scale=100.0, shots=1, seed=1)
        >>> batches = ShuffledBatches(task, batch_size=2)
        >>> [len(labels) for _, labels in batches]
        [2, 1]
    """

    def __init__(self, task: FewShotTask, batch_size: int) -> None:
        super().__init__()
        self._embeddings = task.embeddings
        self._labels = task.labels.astype("int32")
        self._batch_size = batch_size
        self._generator = np.random.default_rng(task.seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._labels) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return self._embeddings[rows], self._labels[rows]

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        self._order = self._generator.permutation(len(self._labels))
