"""Iterating over what a user gives as images."""

from collections.abc import Iterator
from typing import Any

from keras_cmm_runtime.errors import InputError


def items(iterable: Any) -> Iterator[Any]:
    """Returns an iterator over a data set.

    Python iterates over what has `__getitem__` alone, as most torch data sets do, until that raises
    `IndexError`. Many never do, so that their length counts here.

    Args:
        iterable: An iterable, or an object with `__getitem__` and `__len__`.

    Raises:
        InputError: If it has neither `__iter__` nor a length.

    Example:
        >>> class Squares:
        ...     def __getitem__(self, index):
        ...         return index**2
        ...     def __len__(self):
        ...         return 3
        >>> list(items(Squares()))
        [0, 1, 4]
    """
    kind = type(iterable)
    if hasattr(kind, "__iter__"):
        return iter(iterable)
    if hasattr(kind, "__getitem__") and hasattr(kind, "__len__"):
        return (iterable[index] for index in range(len(iterable)))
    raise InputError(
        "images must be an iterable, such as a list, or a data set with `__len__` and "
        f"`__getitem__`. Received: {kind.__name__}"
    )
