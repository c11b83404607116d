"""Labels of all kinds as class ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.same_names import same_names


def ids_of_labels(labels: Any, class_names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Returns labels as class ids.

    Args:
        labels: class ids `(n,)` or `(n, 1)`, class names `(n,)`, or one-hot labels `(n, classes)`.
        class_names: the classes.

    Returns:
        int64 array of shape `(n,)`.

    Raises:
        InputError: If a label is no class of the model's.

    Example:
        >>> ids_of_labels(["dog", "cat"], ["cat", "dog"])
        array([1, 0])
    """
    array = labels_as_array(labels)
    if array.dtype.kind not in "UO":
        return checked_ids(
            array, len(class_names), "class ids from 0 to {}, class names, or one-hot"
        )
    names = array.ravel().tolist()
    same = same_names([name for name in names if isinstance(name, str)], class_names)
    unknown = sorted({str(name) for name in names if name not in same})
    if unknown:
        raise InputError(
            f"label {unknown[0]!r} is none of the model's {len(class_names)} class names; "
            "rename it or make a classifier that has this class."
        )
    ids = {name: index for index, name in enumerate(class_names)}
    return np.array([ids[same[name]] for name in names], dtype="int64")


def labels_as_array(labels: Any) -> npt.NDArray[Any]:
    """Returns labels as an array: of numbers, of strings, or of objects that are neither.

    Raises:
        InputError: If they are no array, or truth values.
    """
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iuf":
        return labels
    try:
        each = [_to_numpy(label) for label in rows_of(labels)]
        array = np.asarray(each)
    except (TypeError, ValueError):
        raise InputError(
            f"labels must be an array or a list, one a row. Received: {type(labels).__name__}"
        ) from None
    # NumPy would count `True` as 1, and of a list that has other numbers too nothing tells.
    if any(isinstance(label, bool | np.bool_) for label in each):
        raise InputError("labels must be classes. Received: a truth value, True or False")
    if array.dtype.kind == "O" and not any(isinstance(each, str) for each in array.ravel()):
        return np.asarray(array.tolist())
    return array


def checked_ids(
    array: npt.NDArray[Any],
    num_classes: int,
    expected: str = "class ids from 0 to {} or one-hot",
) -> npt.NDArray[np.int64]:
    """Returns numbers as class ids.

    Args:
        array: class ids `(n,)` or `(n, 1)`, or one-hot labels `(n, classes)`.
        num_classes: int.
        expected: what the message of the error says, with `{}` for the largest class id.

    Raises:
        InputError: If they are something else.
    """
    is_number = array.dtype.kind in "iuf"
    if array.ndim == 2 and array.shape[1] == num_classes > 1 and (is_number or array.dtype == bool):
        if not ((array == 0) | (array == 1)).all() or (array.sum(axis=1) != 1).any():
            raise InputError("labels must be one-hot or class ids. Received: soft labels")
        return array.argmax(axis=1)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    # The comparison is false for NaN.
    whole = is_number and array.ndim == 1 and bool((array == np.rint(array)).all())
    if not whole or (array.size and not (array.min() >= 0 and array.max() < num_classes)):
        values = ""
        if is_number and array.size:
            wrong = ~((array >= 0) & (array < num_classes) & (array == np.rint(array)))
            values = f", values {array.min()} to {array.max()}"
            values += f", such as {array[wrong].flat[0]}" if wrong.any() else ""
        raise InputError(
            f"labels must be {expected.format(num_classes - 1)}. "
            f"Received: shape {array.shape}, dtype {array.dtype.name}{values}"
        )
    return array.astype("int64")


def rows_of(labels: Any) -> Any:
    """Returns a data frame as its rows: by itself it would yield the names of its columns."""
    return labels.to_numpy() if hasattr(labels, "columns") else labels


def _to_numpy(label: Any) -> Any:
    if isinstance(label, bytes):
        return label.decode()
    return label.detach().cpu().numpy() if hasattr(label, "detach") else label
