"""Split files of CoOp."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import listed, read_json_object

_SPLITS = ("train", "val", "test")


def read_coop_split(
    split_file: str | Path,
) -> tuple[tuple[str, ...], dict[str, list[tuple[str, int]]]]:
    """Reads a `split_zhou_*.json`, the splits of CoOp and of most later work.

    Args:
        split_file: The file, JSON `{"train"|"val"|"test": [[path, label, class name], ...]}`.

    Returns:
        The class names by their ids, and for each split its paths, relative to the folder of
        images, with their class ids.

    Raises:
        InputError: If the file cannot be read, is not such a file, or has an image in two splits.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "split_zhou_Pets.json")
        ...     _ = path.write_text('{"train": [["a.jpg", 0, "cat"]], "val": [], "test": []}')
        ...     read_coop_split(path)
        (('cat',), {'train': [('a.jpg', 0)], 'val': [], 'test': []})

    References:
        https://github.com/KaiyangZhou/CoOp, DATASETS.md.
    """
    mend = "download it again as CoOp's DATASETS.md says"
    content = read_json_object(Path(split_file), mend)
    if not set(_SPLITS) <= set(content):
        raise InputError(
            f"{split_file}: is not a split file; expected JSON with the keys train, val and test."
        )
    names: dict[int, str] = {}
    splits: dict[str, list[tuple[str, int]]] = {}
    for split in _SPLITS:
        splits[split] = []
        rows = content[split] if isinstance(content[split], list) else [content[split]]
        for number, row in enumerate(rows):
            if not _is_row(row):
                raise InputError(
                    f"{split_file}: entry {number} of {split} is not [path, label, class name]; "
                    "download the file again."
                )
            path, label, name = row
            if names.setdefault(label, name) != name:
                raise InputError(
                    f"{split_file}: class {label} has two names, "
                    f"{listed([names[label], name])}; download the file again."
                )
            splits[split].append((path, label))
    if sorted(names) != list(range(len(names))) or not names:
        raise InputError(
            f"{split_file}: its {len(names)} classes are not numbered from 0 to {len(names) - 1}; "
            "download the file again."
        )
    refuse_shared_images(split_file, splits)
    return tuple(names[label] for label in range(len(names))), splits


def refuse_shared_images(source: object, splits: Mapping[str, Sequence[tuple[str, int]]]) -> None:
    """Raises an error if an image is in two splits, since test images must be new.

    Args:
        source: The list of the images, for messages.
        splits: For each split its paths with their class ids.

    Raises:
        InputError: If a path is in two splits.
    """
    split_of: dict[str, str] = {}
    for split, rows in splits.items():
        for path, _ in rows:
            first = split_of.setdefault(path, split)
            if first != split:
                raise InputError(
                    f"{source}: the image {path!r} is in {first} and in {split}; splits must share "
                    "no image; download the file again."
                )


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 3
        and [type(value) for value in row] == [str, int, str]
        and row[1] >= 0
        and "" not in row
    )
