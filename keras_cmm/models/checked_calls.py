"""The methods of `keras.Model` that take data, with checks of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_cmm.models.checks import class_weight_by_id, loss_takes_ids
from keras_cmm.models.epoch_lines import EpochLines
from keras_cmm.models.head_inputs import HeadInputs, checked_stream, is_stream
from keras_cmm.models.kept_weights import kept_weights
from keras_cmm.recipes import checked_sample_weight
from keras_cmm.utils.embedding_rows import LARGEST
from keras_cmm_runtime.errors import InputError


class CheckedCalls:
    """The part of `CMMClassifier` that refuses data that would train or predict nonsense.

    Array-like data is checked at once. Batches of a `keras.utils.PyDataset`, a generator, a torch
    `DataLoader` or a `tf.data.Dataset` are checked when they are read. A direct call of the model
    checks nothing.
    """

    num_classes: int
    is_trained: bool

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains the classifier as `keras.Model.fit` does; see `AutoRecipe.fit` for a recipe.

        Labels are class ids or one-hot. With the default `verbose`, it prints one line for an
        epoch, at most 20 in all.

        Raises:
            InputError: if embeddings, labels or weights cannot be used.
        """
        with self._checked("fit", args, kwargs) as arguments:
            _set_verbosity(arguments)
            history: keras.callbacks.History = super().fit(**arguments)  # type: ignore[misc]
        self.is_trained = True
        return history

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Returns loss and metrics as `keras.Model.evaluate` does; `fit` says what is refused."""
        with self._checked("evaluate", args, kwargs) as arguments:
            return super().evaluate(**arguments)  # type: ignore[misc]

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the logits as `keras.Model.predict` does; `fit` says what is refused."""
        with self._checked("predict", args, kwargs) as arguments:
            if _is_empty(arguments["x"]):
                return np.empty((0, self.num_classes), dtype="float32")
            return super().predict(**arguments)  # type: ignore[misc]

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Trains the classifier by one step, as `keras.Model.train_on_batch` does."""
        with self._checked("train_on_batch", args, kwargs) as arguments:
            result = super().train_on_batch(**arguments)  # type: ignore[misc]
        self.is_trained = True
        return result

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Returns loss and metrics in one step, as `keras.Model.test_on_batch` does."""
        with self._checked("test_on_batch", args, kwargs) as arguments:
            return super().test_on_batch(**arguments)  # type: ignore[misc]

    def predict_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the logits of one batch, as `keras.Model.predict_on_batch` does."""
        with self._checked("predict_on_batch", args, kwargs) as arguments:
            if _is_empty(arguments["x"]):
                return np.empty((0, self.num_classes), dtype="float32")
            return super().predict_on_batch(**arguments)  # type: ignore[misc]

    @contextmanager
    def _checked(
        self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Yields the arguments of a method of `keras.Model`, checked."""
        signature = inspect.signature(getattr(keras.Model, method))
        bound = signature.bind(self, *args, **kwargs)
        arguments = {**bound.arguments, **bound.arguments.get("kwargs", {})}
        del arguments["self"]
        arguments.pop("kwargs", None)
        inputs = self._inputs(uses_labels="y" in signature.parameters)
        _check_data(arguments, inputs, is_batch=method.endswith("on_batch"))
        if arguments.get("class_weight") is not None:
            arguments["class_weight"] = class_weight_by_id(
                arguments["class_weight"], self.num_classes, arguments.get("sample_weight")
            )
        if arguments.get("validation_data") is not None:
            arguments["validation_data"] = _checked_validation(arguments["validation_data"], inputs)
        try:
            with kept_weights(self):
                yield arguments
        except InputError:
            raise
        except Exception:
            if inputs.refusals:  # `tf.data` has made another error of it.
                raise inputs.refusals[0] from None
            raise

    def _inputs(self, uses_labels: bool) -> HeadInputs:
        model: Any = self
        # A row must fit the dtype that the map computes in. Others are as wide as float32.
        is_narrow = model.mapping.compute_dtype == "float16"
        return HeadInputs(
            self.num_classes,
            int(model.text_prototypes.embeddings.shape[1]) + model.also_dim
            if model.built
            else None,
            loss_takes_ids(getattr(model, "loss", None)),
            uses_labels,
            float(np.finfo("float16").max) if is_narrow else LARGEST,
        )


def _is_empty(x: Any) -> bool:
    """Whether there is no row, of which Keras predicts nothing on some backends."""
    return isinstance(x, np.ndarray) and not len(x)


def _check_data(arguments: dict[str, Any], inputs: HeadInputs, is_batch: bool) -> None:
    """Checks `x`, `y` and `sample_weight` among the arguments of a method, in place."""
    x = arguments.get("x")
    if is_stream(x) and not is_batch:
        arguments["x"] = checked_stream(x, inputs)
        return
    if x is None:
        raise InputError("`x` must hold embeddings of shape (rows, dim). Received: None")
    arguments["x"] = x = inputs.embeddings(x)
    if not inputs.uses_labels:
        return
    if not len(x):
        raise InputError(f"`x` must hold one embedding or more. Received: shape {x.shape}")
    arguments["y"] = inputs.labels(arguments.get("y"), len(x))
    if arguments.get("sample_weight") is not None:
        arguments["sample_weight"] = checked_sample_weight(
            arguments["sample_weight"], len(x), allow_zeros=is_batch
        )


def _checked_validation(validation_data: Any, inputs: HeadInputs) -> Any:
    if is_stream(validation_data):
        return checked_stream(validation_data, inputs)
    parts = validation_data if isinstance(validation_data, tuple | list) else ()
    if len(parts) not in (2, 3):
        raise InputError(
            "`validation_data` must be (embeddings, labels), with sample weights or without, or a "
            f"data set. Received: a {type(validation_data).__name__} of {len(parts)} parts"
        )
    arguments = dict(zip(("x", "y", "sample_weight"), parts, strict=False))
    _check_data(arguments, inputs, is_batch=False)
    return tuple(arguments.values())


def _set_verbosity(arguments: dict[str, Any]) -> None:
    """Puts `EpochLines` in the place of Keras's bars, unless they were asked for."""
    callbacks = arguments.get("callbacks")
    is_list = isinstance(callbacks, keras.callbacks.CallbackList)
    if arguments.get("verbose", "auto") == "auto" and not is_list:
        given = [] if callbacks is None else keras.tree.flatten(callbacks)
        arguments["callbacks"] = [*given, EpochLines()]
        arguments["verbose"] = 0
