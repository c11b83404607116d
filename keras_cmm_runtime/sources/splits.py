"""Names of splits, as data sets call their folders, rows and files."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import listed

SPLITS = ("train", "val", "test")
"""The splits, in the order in which they are listed."""

_WORDS = {
    "train": {"train", "training", "trainset", "trainval"},
    "val": {"val", "valid", "validation", "valset", "dev"},
    "test": {"test", "testing", "testset"},
}


def find_splits(names: Iterable[str], source: object) -> dict[str, str]:
    """Finds the splits of one data set among the names of its folders, rows or files.

    Names are splits only if they differ in nothing else: "train station" and "test tube" are
    classes.

    Args:
        names: The names.
        source: Where the names come from, for messages.

    Returns:
        The names by split, such as `{"train": "training_set", "test": "test_set"}`. Empty if there
        are not two of them.

    Raises:
        InputError: If there is more than one candidate for a split.
    """
    groups: dict[frozenset[str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in sorted(names):
        split, rest = _split_of(name)
        if split is not None:
            groups[rest][split].append(name)
    found = [group for group in groups.values() if len(group) > 1]
    if not found:
        return {}
    several = [name for group in found for names in group.values() for name in names]
    if len(found) > 1 or len(several) > len(found[0]):
        raise InputError(
            f"{source}: has {listed(several)}, which look like splits, not classes, and more than "
            "one of a kind; keep one train, one val and one test, or give one of them alone."
        )
    return {split: found[0][split][0] for split in SPLITS if split in found[0]}


def _split_of(name: str) -> tuple[str | None, frozenset[str]]:
    """Returns the split that a name tells, if it tells one, and the other words of the name."""
    words = frozenset(re.findall(r"[^\W\d_]+", name.casefold()))
    splits = [split for split, known in _WORDS.items() if words & known]
    return (splits[0], words - _WORDS[splits[0]]) if len(splits) == 1 else (None, words)


def declared_splits(names: Collection[str]) -> dict[str, str]:
    """Names the splits of a data set by what they are, such as "val" for "validation".

    Args:
        names: The names of all splits, one or more.

    Returns:
        The names by split. A name that is none of train, val and test stands for itself.
    """
    kinds = {name: _split_of(name)[0] or name for name in names}
    is_clear = len(set(kinds.values())) == len(kinds)
    return {kinds[name] if is_clear else name: name for name in names}


def choose_splits(
    source: object, found: Mapping[str, str], wanted: Sequence[str]
) -> dict[str, str]:
    """Returns those of the wanted splits that a data set has.

    Args:
        source: The data set, for messages.
        found: The names of all splits by split, as `find_splits` returns them.
        wanted: Splits, or their names in the data set.

    Raises:
        InputError: If the data set has none of the wanted splits.
    """
    known = {**{name: name for name in found.values()}, **found}
    chosen = {split: known[split] for split in wanted if split in known}
    if not chosen:
        received = f"split={wanted[0]!r}" if wanted else "split=None"
        raise InputError(
            f"{source}: `split` must be one of {listed(found.values())}. Received: {received}"
        )
    return chosen
