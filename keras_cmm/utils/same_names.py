"""Class names that are the same in another Unicode form."""

import unicodedata
from collections.abc import Collection, Iterable


def same_names(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    r"""Maps each name to the known one that is the same, if only in another Unicode form.

    A folder that macOS named and the same name typed differ in how they encode an accent.

    Args:
        names: Names as they were found.
        known: Names as they are meant to be.

    Returns:
        The known name of each of `names` that has one.

    Example:
        >>> same_names(["cafe\u0301", "tea"], ["caf\u00e9"]) == {"cafe\u0301": "caf\u00e9"}
        True
    """
    composed = {unicodedata.normalize("NFC", name): name for name in known}
    exact = set(known)
    found = {}
    for name in names:
        if name in exact:
            found[name] = name
        elif (same := composed.get(unicodedata.normalize("NFC", name))) is not None:
            found[name] = same
    return found
