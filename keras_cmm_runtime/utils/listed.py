"""Names in messages."""

from collections.abc import Callable, Iterable

from keras_cmm_runtime.utils.shortened import shortened


def listed(names: Iterable[object], most: int = 5, show: Callable[[object], str] = repr) -> str:
    """Returns the first `most` names, separated by commas, and the number of the others.

    Very long names are shortened.

    Example:
        >>> listed(["ant", "bee", "cat"], most=2)
        "'ant', 'bee' and 1 more"
    """
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shortened(show(name), 200) for name in names[:most]) + more
