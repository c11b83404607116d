"""A check that the weights of a model are numbers."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_cmm_runtime.errors import InputError


def check_finite_weights(model: Any, source: str) -> None:
    """Raises an error if a weight of a model is NaN or infinite.

    Args:
        model: A Keras model or layer.
        source: What it was loaded from, for the message.

    Raises:
        InputError: If one is.
    """
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype) and not bool(
            ops.all(ops.isfinite(weight.value))
        ):
            raise InputError(
                f"{source}: the weights {weight.path} are not all finite numbers. The files are "
                f"damaged, or {weight.dtype} is too narrow for them; copy or download them anew, "
                "or choose another dtype."
            )
