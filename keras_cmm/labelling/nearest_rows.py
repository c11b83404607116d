"""The nearest rows of each row, in memory that does not grow with the number of rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# 16 MiB of cosines at a time, however many rows there are.
_ROWS, _COLUMNS = 1024, 4096


def nearest_rows(
    rows: npt.NDArray[np.float32], count: int, earlier: bool = False
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Returns the cosines to the nearest other rows, and their numbers.

    Args:
        rows: `(rows, dim)`, of unit length.
        count: How many for each row.
        earlier: Whether only rows before it count.

    Returns:
        Both `(rows, count)`, the nearest first; minus infinity and -1 where there are fewer rows.

    Example:
        >>> rows = np.array([[1, 0], [0, 1], [0.8, 0.6]], dtype="float32")
        >>> nearest_rows(rows, 1)[1].tolist(), nearest_rows(rows, 1, earlier=True)[1].tolist()
        ([[2], [2], [0]], [[-1], [0], [0]])
    """
    cosines = np.full((len(rows), count), -np.inf, dtype="float32")
    numbers = np.full((len(rows), count), -1, dtype="int64")
    for start in range(0, len(rows), _ROWS):
        end = min(start + _ROWS, len(rows))
        own = np.arange(start, end)[:, None]
        best, best_numbers = cosines[start:end], numbers[start:end]
        for column in range(0, end if earlier else len(rows), _COLUMNS):
            tile = rows[start:end] @ rows[column : column + _COLUMNS].T
            others = np.arange(column, column + tile.shape[1])[None]
            tile[others >= own if earlier else others == own] = -np.inf
            tile = np.concatenate([best, tile], axis=1)
            others = np.concatenate(
                [best_numbers, np.broadcast_to(others, (len(own), others.size))], axis=1
            )
            kept = np.argpartition(-tile, count - 1, axis=1)[:, :count]
            best = np.take_along_axis(tile, kept, axis=1)
            best_numbers = np.take_along_axis(others, kept, axis=1)
        order = np.argsort(-best, axis=1, kind="stable")
        cosines[start:end] = np.take_along_axis(best, order, axis=1)
        numbers[start:end] = np.take_along_axis(best_numbers, order, axis=1)
    numbers[np.isneginf(cosines)] = -1
    return cosines, numbers
