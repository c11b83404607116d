"""Embeddings that are read where they are needed."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.utils.unit_rows import unit_rows

# Rows of a block: 16 MiB of float32 for embeddings of 512 dimensions.
BLOCK_ROWS = 8192

# Rows here and there of a mapped file that are read at a time. Each brings along up to a MiB of
# what is around it.
_SCATTERED_ROWS = 64


class LazyRows:
    """Rows of embeddings, array-like, in float32, that are made when they are read.

    The embeddings stay where they are and in the precision that they have, in memory or mapped from
    a file. `rows[key]` chooses rows and reads nothing. `np.asarray(rows)` reads them.

    Args:
        embeddings: `(rows, dim)` floats, or `LazyRows`, which are returned as they are.
        numbers: `(chosen,)` int64: numbers of rows in `embeddings` and `added` together, or `None`
            for all.
        parts: columns to read, each scaled to unit length; empty for all columns as they are.
        added: float32 rows, as wide as what is read, that stand after the embeddings, or `None`.

    Example:
        >>> rows = LazyRows(np.array([[3.0, 4.0], [0.0, 2.0], [8.0, 6.0]], "float16"))
        >>> rows[rows.shape[0] - 1 :].shape
        (1, 2)
        >>> np.asarray(rows.unit(slice(0, 2))[[0, 2]])
        array([[0.6, 0.8],
               [0.8, 0.6]], dtype=float32)
    """

    def __init__(
        self,
        embeddings: npt.NDArray[Any],
        numbers: npt.NDArray[np.int64] | None = None,
        parts: tuple[slice, ...] = (),
        added: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self._embeddings = embeddings
        self._numbers = numbers
        self._parts = parts
        self._added = added

    @classmethod
    def of(cls, embeddings: npt.NDArray[Any] | LazyRows) -> LazyRows:
        """Returns embeddings as `LazyRows`."""
        return embeddings if isinstance(embeddings, LazyRows) else cls(embeddings)

    def __len__(self) -> int:
        if self._numbers is not None:
            return len(self._numbers)
        return len(self._embeddings) + (0 if self._added is None else len(self._added))

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """The precision of what is read."""
        return np.dtype("float32")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and numbers in a row."""
        width = self._embeddings.shape[1]
        widths = [len(range(width)[part]) for part in self._parts]
        return len(self), sum(widths) if self._parts else width

    def __getitem__(self, key: Any) -> LazyRows:
        """Chooses rows by a slice, a mask or their numbers."""
        if self._numbers is not None:
            numbers = self._numbers[key]
        elif isinstance(key, slice):
            numbers = np.arange(*key.indices(len(self)))
        else:
            # As NumPy chooses: numbers below 0 count from the end, others than rows are refused.
            numbers = np.arange(len(self))[np.asarray(key)]
        return LazyRows(self._embeddings, numbers, self._parts, self._added)

    def unit(self, *parts: slice) -> LazyRows:
        """Returns the same rows, of some columns, each part of which is of unit length."""
        return LazyRows(self._embeddings, self._numbers, parts, self._added)

    def followed_by(self, added: npt.NDArray[np.float32]) -> LazyRows:
        """Returns these rows with others after them."""
        first = len(self._embeddings)
        numbers = self._numbers
        if numbers is not None:
            numbers = np.append(numbers, np.arange(first, first + len(added)))
        return LazyRows(self._embeddings, numbers, self._parts, added)

    def blocks(self) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Yields all rows, some at a time, each time with their place among them."""
        for first in range(0, len(self), BLOCK_ROWS):
            block = slice(first, min(first + BLOCK_ROWS, len(self)))
            yield block, np.asarray(self[block])

    def mean(self) -> npt.NDArray[np.float64]:
        """Returns the mean row."""
        total = np.zeros(self.shape[1])
        for _, rows in self.blocks():
            total += rows.sum(axis=0, dtype="float64")
        return total / len(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Reads the rows."""
        count = len(self._embeddings)
        numbers = np.arange(len(self)) if self._numbers is None else self._numbers
        is_added = numbers >= count
        rows = self._read(numbers[~is_added])
        if is_added.any():
            assert self._added is not None
            both = np.empty((len(numbers), rows.shape[1]), "float32")
            both[~is_added], both[is_added] = rows, self._added[numbers[is_added] - count]
            rows = both
        return rows if dtype is None else rows.astype(dtype, copy=False)

    def _read(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        rows = self._as_they_are(numbers)
        if not self._parts:
            return rows
        parts = [unit_rows(rows[:, part]) for part in self._parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _as_they_are(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        key: Any = numbers
        if len(numbers) and (np.diff(numbers) == 1).all():
            # One after the other, as almost always: no copy of them in their own precision.
            key = slice(int(numbers[0]), int(numbers[-1]) + 1)
        elif len(numbers) > _SCATTERED_ROWS and _mapping_of(self._embeddings) is not None:
            parts = np.array_split(numbers, math.ceil(len(numbers) / _SCATTERED_ROWS))
            return np.concatenate([self._as_they_are(part) for part in parts])
        forget_pages(self._embeddings)
        return np.asarray(self._embeddings[key]).astype("float32", copy=False)


def forget_pages(embeddings: npt.NDArray[Any]) -> None:
    """Lets go of what was read of an array that is mapped from a file.

    Pages that were read count as this process's memory until then. They are read again when they
    are needed. Other arrays stay as they are.

    Args:
        embeddings: any array.
    """
    mapping = _mapping_of(embeddings)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def _mapping_of(embeddings: Any) -> mmap.mmap | None:
    """Returns the mapping of an array that is read from a file, or `None`.

    A mapping that may be written to is none: it would lose what was written.
    """
    if not hasattr(mmap, "MADV_DONTNEED"):
        return None
    mode = None
    while isinstance(embeddings, np.ndarray):
        mode = getattr(embeddings, "mode", mode)
        embeddings = embeddings.base
    return embeddings if mode == "r" and isinstance(embeddings, mmap.mmap) else None
