"""Class names and class ids of images."""

import difflib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keras_cmm.errors import InputError
from keras_cmm.utils import listed, read_lines, same_names, warn


def read_class_names(path: str | Path) -> list[str]:
    r"""Reads a list of class names, one a line. Empty lines are skipped.

    Args:
        path: The text file, UTF-8.

    Returns:
        The names in the order of the file.

    Raises:
        InputError: If the file cannot be read, repeats a name, or has fewer than two.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "names.txt")
        ...     _ = path.write_text("okapi\nred fox\n")
        ...     read_class_names(path)
        ['okapi', 'red fox']
    """
    names = [line for line in read_lines(Path(path), "give one class name a line") if line]
    repeated = [name for name, number in Counter(names).items() if number > 1]
    if repeated:
        raise InputError(f"{path}: names {min(repeated)!r} twice; remove one.")
    if len(names) < 2:
        raise InputError(
            f"{path}: lists {len(names)} class names, but a classifier needs two or more, one a "
            "line."
        )
    marked = [name for name in names if name.startswith("#")]
    if marked:
        warn(
            f"{path}: {marked[0]!r} is taken as a class name, like all lines that begin with # "
            f"({len(marked)}); remove the lines that are comments."
        )
    return names


def number_classes(
    source: object, names: Sequence[str], class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Numbers the classes of images.

    Args:
        source: Where the images come from, for messages.
        names: The class of each image.
        class_names: Names and order of the classes of a trained model, or `None` for the classes
            of `names`, sorted.

    Returns:
        The class names, and `(images,)` class ids.

    Raises:
        InputError: If there is one class only and `class_names` is not given, or a class is not
            among `class_names`.
    """
    found = set(names)
    if class_names is None:
        if len(found) < 2:
            raise InputError(
                f"{source}: has one class only, {listed(found)}; expected 2 classes or more."
            )
        known = tuple(sorted(found))
        _warn_of_cases(source, known)
    else:
        known = tuple(class_names)
        if len(set(known)) != len(known):
            raise InputError("`class_names` has the same name twice; names must differ.")
    for name in known:
        if name.encode(errors="ignore").decode() != name:
            raise InputError(f"{source}: the class name {name!r} is not UTF-8; rename it.")
    same = same_names(found, known)
    unknown = sorted(found.difference(same))
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(
            f"{source}: has classes that are not among the {len(known)} known ones: "
            f"{listed(unknown)}{hint}; rename or remove them (known: {listed(known)})."
        )
    ids = {name: index for index, name in enumerate(known)}
    return known, np.array([ids[same[name]] for name in names], dtype=np.int32)


def _warn_of_cases(source: object, names: Sequence[str]) -> None:
    first: dict[str, str] = {}
    pairs = [(first.setdefault(name.casefold(), name), name) for name in names]
    pairs = [(one, other) for one, other in pairs if one != other]
    if pairs:
        one, other = pairs[0]
        more = f" ({len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
        warn(
            f"{source}: the classes {one!r} and {other!r} differ in case alone{more}; rename one "
            "if they are the same."
        )


def renumber_classes(
    source: object,
    labels: npt.ArrayLike,
    names: Sequence[str],
    class_names: Sequence[str] | None,
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Keeps the class ids of a data set, or turns them into those of a trained model.

    Args:
        source: Where the images come from, for messages.
        labels: `(images,)` class ids, indices into `names`.
        names: The class names of the data set.
        class_names: Names and order of the classes of a trained model, or `None` to keep the ids.

    Returns:
        The class names, and `(images,)` class ids.

    Raises:
        InputError: If a label is no class id, or a class is not among `class_names`.
    """
    ids = np.asarray(labels)
    if ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= len(names)):
        raise InputError(
            f"{source}: labels must be class ids from 0 to {len(names) - 1}. Received: {ids.min()} "
            f"to {ids.max()} (a test set without labels has -1)"
        )
    if class_names is None:
        return tuple(names), ids.astype(np.int32)
    return number_classes(source, [names[label] for label in ids.tolist()], class_names)
