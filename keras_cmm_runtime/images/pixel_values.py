"""Checking the values of pixels."""

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError


def to_uint8(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Returns the values of a picture as 8 bits.

    Args:
        array: Integers or floats in [0, 255], of shape `(height, width)` or
            `(height, width, channels)` with 1, 3 or 4 channels.

    Raises:
        InputError: If the shape or a value is another.

    Example:
        >>> to_uint8(np.array([[0.2, 254.6]]))
        array([[  0, 255]], dtype=uint8)
    """
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))
    if not is_picture or array.dtype.kind not in "iuf" or 0 in array.shape:
        raise InputError(
            "an image must be a path, a PIL image or an array of shape (height, width, channels) "
            f"with 1, 3 or 4 channels. Received: shape {array.shape}, dtype {array.dtype.name}"
        )
    if array.dtype == np.uint8:
        return array
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and -1 <= low < 0 and high <= 1:
        raise InputError(
            f"float values of an image must lie in [0, 255]. Received: {low:g} to {high:g}, which "
            "looks like [-1, 1]; give ((x + 1) * 127.5)."
        )
    if array.dtype.kind == "f" and 0 < high <= 1:
        raise InputError(
            f"float values of an image must lie in [0, 255]. Received: {low:g} to {high:g}, which "
            "looks like [0, 1]; multiply them by 255, or give a nearly black image as uint8."
        )
    if not (low >= 0 and high <= 255):  # also refuses NaN
        raise InputError(
            f"values of an image must lie in [0, 255]. Received: {low:g} to {high:g}; give images "
            "that are not normalised."
        )
    return np.rint(array).astype("uint8")
