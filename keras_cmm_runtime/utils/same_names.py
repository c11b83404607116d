"""Class names that differ in their Unicode form only."""

import unicodedata
from collections.abc import Collection, Iterable


def same_names(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    r"""Maps each name to the known name that equals it in some Unicode form.

    macOS writes the accents of a folder's name in another form than a keyboard does.

    Args:
        names: Names as they were found.
        known: Names as they are meant to be.

    Returns:
        `{name: known name}`, without the names that equal none.

    Example:
        >>> same_names(["cafe\u0301", "tea"], ["caf\u00e9"]) == {"cafe\u0301": "caf\u00e9"}
        True
    """
    composed = {unicodedata.normalize("NFC", name): name for name in known}
    exact = {name: name for name in known}
    found = {
        name: exact.get(name, composed.get(unicodedata.normalize("NFC", name))) for name in names
    }
    return {name: same for name, same in found.items() if same is not None}
