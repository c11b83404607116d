"""What the losses accept."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from keras import ops


def is_finite_number(value: Any) -> bool:
    """Whether a value is a number, not NaN or infinite; `True` is no number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def checked_inputs(y_true: Any, y_pred: Any, expected: str) -> tuple[Any, Any]:
    """Returns both as tensors, `y_pred` in float32.

    Raises:
        ValueError: if `y_pred`, which the message calls `expected`, does not have rank 2.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    if len(y_pred.shape) != 2:
        raise ValueError(
            f"`y_pred` must be {expected}. Received: y_pred of shape {tuple(y_pred.shape)}"
        )
    return y_true, ops.cast(y_pred, "float32")


def class_ids(y_true: Any, num_classes: int | None = None) -> Any:
    """Returns int32 class ids, `(batch,)`. Of soft labels, the largest entry counts.

    Args:
        y_true: class ids `(batch,)` or `(batch, 1)`, or one-hot labels `(batch, num_classes)`.
        num_classes: int, the width of one-hot labels; `None` allows any width above 1.

    Raises:
        ValueError: if `y_true` has another shape.
    """
    shape = tuple(y_true.shape)
    if len(shape) == 2 and shape[1] is None:
        is_column = ops.equal(ops.shape(y_true)[1], 1)
        largest = ops.cast(ops.argmax(y_true, axis=-1), "int32")
        return ops.where(is_column, ops.cast(y_true[:, 0], "int32"), largest)
    columns = shape[1] if len(shape) == 2 else None
    if len(shape) == 2 and (columns == num_classes or (num_classes is None and columns != 1)):
        return ops.cast(ops.argmax(y_true, axis=-1), "int32")
    if len(shape) == 1 or columns == 1:
        return ops.cast(ops.reshape(y_true, (-1,)), "int32")
    raise ValueError(
        "`y_true` must be class ids of shape (batch,) or (batch, 1), or one-hot labels of "
        f"shape (batch, {num_classes or 'classes'}). Received: y_true of shape {shape}"
    )
