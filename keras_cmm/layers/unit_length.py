"""The one normalisation of images and prototypes."""

from __future__ import annotations

from typing import Any

from keras import ops

_EPSILON = 1e-6


def unit_length(vectors: Any) -> Any:
    """Returns `vectors`, `(..., dim)`, in float32 and scaled to unit length.

    A vector shorter than 1e-6 is scaled by 1e6 instead. Unlike that of `keras.ops.normalize`, the
    gradient of a zero vector is finite: one would otherwise turn all weights into NaN.
    """
    vectors = ops.cast(vectors, "float32")
    square_sum = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(square_sum, _EPSILON**2))
