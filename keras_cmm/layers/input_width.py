"""The width of a layer's input, which decides the shape of its weights."""

from __future__ import annotations

import keras


def input_width(layer: keras.layers.Layer, input_shape: tuple[int | None, ...]) -> int:
    """Returns the size of the last axis; raises `ValueError` if it is not known."""
    width = input_shape[-1]
    if width is None:
        raise ValueError(
            f"The last axis of the input of `{type(layer).__name__}` must have a known size. "
            f"Received: input_shape={input_shape}"
        )
    return width
