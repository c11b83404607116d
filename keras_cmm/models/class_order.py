"""Whether the class ids of a data set are those of the classifier."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.warn import warn

# Containers of torch that leave labels as they are. A subclass may change them.
_TRANSPARENT = ("Subset", "ConcatDataset", "ChainDataset")


def check_class_order(dataset: Any, class_names: Sequence[str]) -> bool:
    """Refuses a data set whose class ids are those of other classes.

    Args:
        dataset: anything. `class_names`, `classes`, `class_to_idx`, `class_indices` and `features`
            of a data set are read, also of the data set of a torch `DataLoader`, and of the parts
            of `Subset` and `ConcatDataset`.
        class_names: the class names of the classifier.

    Returns:
        Whether the data set names its classes.

    Raises:
        InputError: if the data set counts the same classes in another order.

    Example:
        >>> class Colours(list):
        ...     class_names = ["red", "blue"]
        >>> check_class_order(Colours(), ["red", "blue"]), check_class_order([], ["red", "blue"])
        (True, False)
    """
    ids = {_comparable(name): label for label, name in enumerate(class_names)}
    is_named = False
    for found in _class_ids_of(dataset):
        is_named = True
        # Other names are the user's choice, such as folder names where the classifier has better
        # ones.
        for name, label in found.items():
            known = ids.get(_comparable(name), label)
            # Names that are the same but for case cannot be told apart here.
            if known != label and len(ids) == len(class_names):
                raise InputError(
                    "the classes of the data set must be those of the classifier, in the same "
                    f"order. These are in another order, or without some of them: {name!r} is "
                    f"class {label} there, and class {known} of the classifier. Make the "
                    "classifier with the data set's classes, and give a class without images an "
                    "empty folder; or set `class_names` of the data set if its labels are right."
                )
    return is_named


def warn_of_numbers(labels: Any, class_names: Sequence[str]) -> None:
    """Warns of class ids where the names of the classes are numbers in another order.

    Args:
        labels: what the user gave, or `None` where a data set will bring labels.
        class_names: the class names of the classifier.
    """
    wrong = [
        name for label, name in enumerate(class_names) if name.isdecimal() and int(name) != label
    ]
    if not wrong or not all(name.isdecimal() for name in class_names):
        return
    if labels is not None:
        try:
            array = np.asarray(labels)
        except (TypeError, ValueError):  # What they are is told where they are read.
            return
        # Names, and one-hot labels, leave no doubt.
        if array.dtype.kind in "UOS" or (array.ndim == 2 and array.shape[1] > 1):
            return
    label = list(class_names).index(wrong[0])
    warn(
        "labels that are whole numbers are positions in `class_names`, not names: "
        f"{label} is the class {wrong[0]!r}. Give names as texts, or sort `class_names` as numbers."
    )


def _class_ids_of(dataset: Any) -> Iterator[dict[str, int]]:
    """Yields the class ids by name of a data set, or of each of its parts."""
    waiting = [dataset]
    while waiting:
        part = waiting.pop()
        # It changes the labels, in a way that only its author knows.
        if getattr(part, "target_transform", None) is not None:
            continue
        if found := _own_class_ids(part):
            yield found
        elif _is_transparent(part):
            waiting.append(getattr(part, "dataset", None))
            parts = getattr(part, "datasets", ())
            waiting += parts if isinstance(parts, list | tuple) else []


def _own_class_ids(dataset: Any) -> dict[str, int]:
    for attribute in ("class_names", "class_to_idx", "class_indices", "classes"):
        value = getattr(dataset, attribute, None)
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, list | tuple):
            value = {name: label for label, name in enumerate(value)}
        if isinstance(value, Mapping) and value and all(map(_is_class, value.items())):
            return {name: int(label) for name, label in value.items()}
    features = getattr(dataset, "features", None)
    kinds = features.values() if isinstance(features, Mapping) else []
    # A `datasets.ClassLabel` of Hugging Face.
    named = [kind.names for kind in kinds if hasattr(kind, "names") and hasattr(kind, "str2int")]
    return {name: label for label, name in enumerate(named[0])} if len(named) == 1 else {}


def _is_class(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], int | np.integer)


def _is_transparent(dataset: Any) -> bool:
    kind = type(dataset)
    is_loader = any(each.__name__ == "DataLoader" for each in kind.__mro__)
    return is_loader or (
        kind.__module__.startswith("torch.utils.data") and kind.__name__ in _TRANSPARENT
    )


def _comparable(name: str) -> str:
    """Returns a name without what folders change: "Red_Fox" and "red fox" are one class."""
    return unicodedata.normalize("NFC", name).casefold().replace("_", " ").replace("-", " ")
