"""Batches of rows that bound the memory of a matrix."""

from __future__ import annotations

from collections.abc import Iterator

# 64 MB of float32.
_MAX_ENTRIES = 2**24


def row_batches(rows: int, columns: int) -> Iterator[slice]:
    """Yields slices of `rows` rows whose `(batch, columns)` float32 matrix takes at most 64 MB.

    A batch has at least one row.

    Example:
        >>> list(row_batches(3, 2**23))
        [slice(0, 2, None), slice(2, 4, None)]
    """
    size = max(1, _MAX_ENTRIES // columns)
    for start in range(0, rows, size):
        yield slice(start, start + size)
