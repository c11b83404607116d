"""An iterable whose length is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


class Counted:
    """An iterable with a length.

    Args:
        values: the iterable.
        count: how many values it has.

    Example:
        >>> len(Counted((letter for letter in "abc"), 3))
        3
    """

    def __init__(self, values: Iterable[Any], count: int) -> None:
        self._values = values
        self._count = count

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return self._count
