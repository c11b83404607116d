"""Rows of embeddings: what has a direction, and what has none."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError

MIN_LENGTH = 1e-6
"""A shorter row has no direction that could be trusted; `unit_length` would not make it unit."""

LARGEST = float(np.finfo("float32").max) ** 0.5
"""The length of a row must be smaller, or its square is no number of float32."""

# Numbers that are looked at at a time: 4 MiB of float32, however large the array is.
_CHUNK = 1 << 20


class BadRow(NamedTuple):
    """A row that has no direction in float32, and why.

    Args:
        row: int. Its number.
        reason: str, such as "only zeros".
    """

    row: int
    reason: str


def find_bad_row(rows: Any, largest: float = LARGEST) -> BadRow | None:
    """Returns the first row without a direction in float32, the precision of training.

    Args:
        rows: `(rows, dim)` numbers.
        largest: float. The length of a row must be smaller.

    Returns:
        The row and what is wrong with it, or `None`.

    Example:
        >>> import numpy as np
        >>> find_bad_row(np.array([[3.0, 4.0], [0.0, 0.0]]))
        BadRow(row=1, reason='only zeros')
    """
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    for first in range(0, len(rows), step):
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            chunk = np.asarray(rows[first : first + step]).astype(np.float32, copy=False)
            squares = np.einsum("nd,nd->n", chunk, chunk)
            bad = np.flatnonzero(~((squares >= MIN_LENGTH**2) & (squares < largest * largest)))
        if bad.size:
            return BadRow(first + int(bad[0]), _reason(chunk[bad[0]], largest))
    return None


def as_numbers(values: Any, name: str) -> npt.NDArray[Any]:
    """Returns an array-like or a tensor, of any backend, as an array of real numbers.

    Args:
        values: the numbers.
        name: str. What the message of an error calls them.

    Raises:
        InputError: if they are something else.
    """
    if hasattr(values, "detach"):  # A tensor of torch, whatever the backend is.
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values
    if isinstance(values, keras.Variable) or keras.ops.is_tensor(values):
        values = keras.ops.convert_to_numpy(values)
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        raise InputError(
            f"`{name}` must be an array, of rows of one length. "
            f"Received: a {type(values).__name__} that is none"
        ) from None
    # The package ml_dtypes has the half precision types that NumPy lacks. Their kind is "V".
    if array.dtype.kind == "V" and "float" in array.dtype.name:
        array = array.astype("float32")
    if array.dtype.kind not in "iuf":
        what = f"a {type(values).__name__} of " if array.dtype.kind == "O" else ""
        raise InputError(
            f"`{name}` must hold real numbers. "
            f"Received: {what}{array.dtype.name}, shape {array.shape}"
        )
    if np.ma.is_masked(values):
        raise InputError(f"`{name}` must have no masked values: leave their rows out.")
    return array


def _reason(row: npt.NDArray[np.float32], largest: float) -> str:
    if not np.isfinite(row).all():
        return "NaN, infinite or too large values"
    if not row.any():
        return "only zeros"
    length = float(np.linalg.norm(row.astype("float64")))
    if length < MIN_LENGTH:
        return f"the length {length:.3g}, which is too short to have a direction"
    return f"too large values, of length {length:.3g}"
