"""Rows at unit length, as everything that compares embeddings wants them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def unit_rows(rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Returns rows of unit length in float32; a row of zeros stays one."""
    values: npt.NDArray[Any] = np.asarray(rows)
    # Half precision would round the lengths.
    values = values.astype(np.result_type(values, np.float32), copy=False)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    return (values / np.maximum(lengths, 1e-12)).astype("float32", copy=False)
