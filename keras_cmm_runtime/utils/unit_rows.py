"""Rows of unit length."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def unit_rows(rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Returns the rows in float32, each scaled to unit length; a row of zeros stays as it is."""
    values: npt.NDArray[Any] = np.asarray(rows)
    # Half precision would round the lengths.
    values = values.astype(np.result_type(values, np.float32), copy=False)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    return (values / np.maximum(lengths, 1e-12)).astype("float32", copy=False)
