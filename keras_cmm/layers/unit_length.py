"""The normalisation of images and prototypes."""

from __future__ import annotations

from typing import Any

from keras import ops

_EPSILON = 1e-6


def unit_length(vectors: Any) -> Any:
    """Returns `vectors`, `(..., dim)`, in float32 and scaled to unit length.

    A vector shorter than 1e-6 is multiplied by 1e6 instead. So the gradient of a zero vector is
    finite. With `keras.ops.normalize` it is not, and a single one turns all weights into NaN.
    """
    vectors = ops.cast(vectors, "float32")
    square_sum = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(square_sum, _EPSILON**2))
