"""From the class names of images to class ids, and from one list of classes to another."""

import difflib
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from keras_cmm.errors import InputError
from keras_cmm.utils.listed import listed
from keras_cmm.utils.same_names import same_names


def number_classes(
    source: object, names: Sequence[str], class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Numbers the classes of images.

    Args:
        source: What the images come from, for messages.
        names: The class of each image.
        class_names: Names and order of the classes of a trained model, or `None` for those that are
            found, sorted.

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
        warnings.warn(
            f"{source}: the classes {one!r} and {other!r} differ in case alone{more}; rename one "
            "if they are the same.",
            stacklevel=4,
        )


def renumber_classes(
    source: object,
    labels: npt.ArrayLike,
    names: Sequence[str],
    class_names: Sequence[str] | None,
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Takes the class ids of a data set as they are, or turns them into a trained model's.

    Args:
        source: What the images come from, for messages.
        labels: `(images,)` class ids, indices into `names`.
        names: The class names of the data set.
        class_names: Names and order of the classes of a trained model, or `None`.

    Returns:
        The class names, and `(images,)` class ids.

    Raises:
        InputError: If a label is no class id, or a class is not among `class_names`.
    """
    ids = np.asarray(labels)
    if ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= len(names)):
        raise InputError(
            f"{source}: labels must be class ids from 0 to {len(names) - 1}; received "
            f"{ids.min()} to {ids.max()} (a test set without labels has -1)."
        )
    if class_names is None:
        return tuple(names), ids.astype(np.int32)
    return number_classes(source, [names[label] for label in ids.tolist()], class_names)
