"""The inputs of a classifier on embeddings, checked before or while they are read."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.recipes import checked_embeddings, checked_labels, checked_sample_weight
from keras_cmm.utils.embedding_rows import LARGEST
from keras_cmm.utils.labels import labels_as_array
from keras_cmm_runtime.errors import InputError


@dataclass(frozen=True)
class HeadInputs:
    """Checks embeddings, labels and weights in NumPy, before any tensor is made.

    It holds no model, so that a process that reads batches can take it along.

    Args:
        num_classes: int.
        dim: int or `None`. The width of the embeddings, `None` where it is not known yet.
        takes_ids: bool. Whether the loss takes class ids, so that one-hot labels become ids.
        uses_labels: bool. Whether labels are used at all.
        largest: float. The length of an embedding must be smaller.
        refusals: the errors so far. `tf.data` hides an error in one of its own.
    """

    num_classes: int
    dim: int | None
    takes_ids: bool = True
    uses_labels: bool = True
    largest: float = LARGEST
    refusals: list[InputError] = field(default_factory=list)

    def embeddings(self, x: Any, name: str = "x") -> npt.NDArray[Any]:
        """Returns embeddings as an array; see `checked_embeddings`."""
        return checked_embeddings(x, name, self.dim, self.largest)

    def labels(self, y: Any, rows: int) -> npt.NDArray[Any]:
        """Returns labels as class ids; for a loss of one-hot labels these, or soft ones.

        Args:
            y: the labels.
            rows: int. How many there must be.

        Raises:
            InputError: if they are something else.
        """
        if self.takes_ids or y is None:
            return checked_labels(y, self.num_classes, rows)
        array = labels_as_array(y)
        if array.shape != (rows, self.num_classes) or array.dtype.kind not in "iufb":
            ids = checked_labels(array, self.num_classes, rows)
            return ids if array.ndim == 1 else ids[:, None]
        if not (np.isfinite(array) & (array >= 0)).all() or not array.any(axis=1).all():
            raise InputError(
                "`y` must hold one-hot or soft labels: finite numbers >= 0, and no row all zeros. "
                f"Received: values from {array.min()} to {array.max()}"
            )
        return array

    def batch(self, data: Any) -> Any:
        """Returns a batch of a data set, checked: `x`, `(x, y)` or `(x, y, sample_weight)`."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        try:
            x = self.embeddings(x)
            if self.uses_labels:
                y = self.labels(y, len(x))
                weights = checked_sample_weight(weights, len(x), allow_zeros=True)
        except InputError as error:
            self.refusals.append(error)
            raise
        return keras.utils.pack_x_y_sample_weight(x, y, weights)


def is_stream(x: Any) -> bool:
    """Whether `x` yields batches, rather than being array-like."""
    is_array = isinstance(x, list | tuple | str | bytes | Mapping) or hasattr(x, "__array__")
    return not (x is None or is_array or hasattr(x, "shape"))


def checked_stream(data: Any, inputs: HeadInputs) -> Any:
    """Returns a data set whose batches are checked when they are read.

    Args:
        data: a `keras.utils.PyDataset`, a generator, a torch `DataLoader` or a `tf.data.Dataset`.
            Others, such as those of grain, are returned as they are.
        inputs: what checks each batch.
    """
    if isinstance(data, keras.utils.PyDataset):
        return _CheckedPyDataset(data, inputs)
    if isinstance(data, types.GeneratorType):
        return (inputs.batch(batch) for batch in data)
    kinds = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(data).__mro__]
    if ("torch", "DataLoader") in kinds:
        return _checked_loader(data, inputs)
    if ("tensorflow", "DatasetV2") in kinds:
        return _checked_tf_dataset(data, inputs)
    return data


class _CheckedPyDataset(keras.utils.PyDataset):
    def __init__(self, dataset: keras.utils.PyDataset, inputs: HeadInputs) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset = dataset
        self._inputs = inputs

    @property
    def num_batches(self) -> int | None:
        batches: int | None = self._dataset.num_batches
        return batches

    def __getitem__(self, index: int) -> Any:
        return self._inputs.batch(self._dataset[index])

    def on_epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()


def _checked_loader(loader: Any, inputs: HeadInputs) -> Any:
    import torch

    class CheckedLoader(torch.utils.data.DataLoader):
        def __init__(self) -> None:
            """Sets nothing up: the loader has it all."""

        def __getattr__(self, name: str) -> Any:
            return getattr(loader, name)

        def __len__(self) -> int:
            return len(loader)

        def __iter__(self) -> Any:
            for batch in loader:
                yield keras.tree.map_structure(torch.as_tensor, inputs.batch(batch))

    return CheckedLoader()


def _checked_tf_dataset(dataset: Any, inputs: HeadInputs) -> Any:
    import tensorflow as tf

    def checked(*parts: Any) -> Any:
        if not all(isinstance(part, tf.Tensor) for part in parts):
            return parts if len(parts) > 1 else parts[0]

        def on_arrays(*arrays: Any) -> list[Any]:
            batch = inputs.batch(arrays if len(arrays) > 1 else arrays[0])
            batch = batch if isinstance(batch, tuple) else (batch,)
            return [
                np.asarray(array, dtype=part.dtype.as_numpy_dtype)
                for array, part in zip(batch, parts, strict=True)
            ]

        outputs = tf.numpy_function(on_arrays, parts, [part.dtype for part in parts])
        for number, (output, part) in enumerate(zip(outputs, parts, strict=True)):
            becomes_ids = number == 1 and inputs.uses_labels and inputs.takes_ids
            output.set_shape(part.shape[:1] if becomes_ids else part.shape)
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    return dataset.map(checked)
