"""Class names and class ids of images."""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import listed, refuse_special_file, same_names, warn
from keras_cmm_runtime.utils.files import MAX_LINES

NAMES_FILE = "classnames.txt"
"""The file that names classes that are numbers."""


def read_class_names(path: str | Path, *, numbered: bool = False) -> list[str]:
    r"""Reads a list of class names, one a line. Empty lines are skipped.

    Args:
        path: The text file, UTF-8.
        numbered: Whether lines are counted, since the classes are numbers. Then an empty line
            before a name is an error, which would give the names after it to other classes.

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
    refuse_special_file(path, MAX_LINES)
    try:
        return parse_class_names(path, Path(path).read_bytes(), numbered=numbered)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def parse_class_names(source: object, data: bytes, *, numbered: bool = False) -> list[str]:
    """Does what `read_class_names` does, with the bytes of the file.

    Args:
        source: The file, for messages.
        data: Its bytes.
        numbered: As in `read_class_names`.
    """
    try:
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise InputError(
            f"{source}: is not UTF-8 text; save it as UTF-8, one class name a line."
        ) from None
    names = [line for line in lines if line]
    if numbered and names != lines[: len(names)]:
        raise InputError(
            f"{source}: line {lines.index('') + 1} is empty, which would move the names after it "
            "to other numbers; give one name a line, for class 0 first."
        )
    repeated = [name for name, number in Counter(names).items() if number > 1]
    if repeated:
        raise InputError(
            f"{source}: names {min(repeated)!r} twice; remove one, or tell them apart as in "
            "'crane (bird)'."
        )
    if len(names) < 2:
        raise InputError(
            f"{source}: lists {len(names)} class names, but a classifier needs two or more, one a "
            "line."
        )
    marked = [name for name in names if name.startswith("#")]
    if marked:
        warn(
            f"{source}: {marked[0]!r} is taken as a class name, like all lines that begin with # "
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
        _warn_of_numbers(source, known)
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
        if all(map(_is_number, unknown)):
            hint = " (write names in the place of numbers)"
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


def _is_number(name: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(\.\d*)?", name) is not None


def _warn_of_numbers(source: object, names: Sequence[str]) -> None:
    """CLIP knows what a cat is, but not what 3 is."""
    if all(map(_is_number, names)):
        warn(
            f"{source}: its classes are numbers, such as {names[0]!r}, which CLIP reads as names; "
            "write the names of the classes in their place."
        )


def name_numbers(
    source: object,
    labels: Sequence[int],
    names: Sequence[str] | None,
    class_names: Sequence[str] | None,
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Names classes that are numbers.

    Args:
        source: Where the images come from, for messages.
        labels: The class of each image.
        names: The names by number, or `None` if the source has none.
        class_names: Names and order of the classes of a trained model, or `None`.

    Returns:
        The class names, and `(images,)` class ids.

    Raises:
        InputError: If there are no names, or as `renumber_classes` does.
    """
    if names is not None:
        return renumber_classes(source, labels, names, class_names)
    if class_names is None:
        raise InputError(
            f"{source}: its classes are numbers; put their names into {NAMES_FILE} beside it, a "
            "name a line, or give `class_names`."
        )
    # "10" comes before "2" where names are sorted, so the place of a name is not its number.
    if all(map(_is_number, class_names)):
        return number_classes(source, [str(label) for label in labels], class_names)
    known, ids = renumber_classes(source, labels, class_names, None)
    first = ", ".join(f"{number} is {name!r}" for number, name in enumerate(known[:3]))
    warn(
        f"{source}: its classes are numbers without names, and taken for positions in "
        f"`class_names`: {first}; put their names into {NAMES_FILE} beside it if that is wrong."
    )
    return known, ids


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
