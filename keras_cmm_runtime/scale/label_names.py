"""The names of the classes that a run has found."""

from __future__ import annotations

from collections.abc import Iterable

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale.read_shard import asking_again
from keras_cmm_runtime.scale.storage import Storage
from keras_cmm_runtime.sources.class_names import NAMES_FILE, parse_class_names


def names_of_labels(labels: Iterable[str], source: Storage) -> dict[str, str]:
    """Returns the name of the class of each label, sorted by name or number.

    Labels are names, unless all of them are numbers and there is a file `classnames.txt`, with a
    name a line, in the source or beside it.

    Args:
        labels: The labels, once each.
        source: Where the images lie.

    Raises:
        InputError: If the file has no name for a label, or cannot be looked for.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     names_of_labels(["dog", "cat"], Storage(folder))
        {'cat': 'cat', 'dog': 'dog'}
    """
    found = sorted(labels)
    if not found or not all(label.isdecimal() for label in found):
        return {label: label for label in found}
    try:
        names = asking_again(lambda: _names_file(source))
    except OSError as error:
        raise InputError(f"{source.uri}: no {NAMES_FILE} can be looked for ({error}).") from error
    ordered = sorted(found, key=int)
    if names is None:
        return {label: label for label in ordered}
    if int(ordered[-1]) >= len(names):
        raise InputError(
            f"{source.uri}: has a class {ordered[-1]}, and {NAMES_FILE} has {len(names)} names, of "
            "the classes from 0 on; add its name there."
        )
    return {label: names[int(label)] for label in ordered}


def _names_file(source: Storage) -> list[str] | None:
    places = [source, Storage(source.uri.rstrip("/").rpartition("/")[0] or ".", source.options)]
    for place in places:
        if place.is_folder() and place.exists(NAMES_FILE):
            return parse_class_names(
                f"{place.uri}/{NAMES_FILE}", place.read(NAMES_FILE), numbered=True
            )
    return None
