"""What lists and files say of an image: its class and its split."""

from __future__ import annotations

from typing import Any

from keras_cmm_runtime.errors import InputError

_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
}


def label_text(value: Any, where: str) -> str | None:
    """Returns the class that a value tells, or `None` if it tells none.

    Args:
        value: A name, or a number. A number below 0 tells none, as Hugging Face has it.
        where: The row, for messages.

    Raises:
        InputError: If it is more than one.

    Example:
        >>> label_text(0, "row 1"), label_text(" cat ", "row 2"), label_text(float("nan"), "row 3")
        ('0', 'cat', None)
    """
    if isinstance(value, list | tuple | dict):
        raise InputError(f"{where}: has the label {value}; an image must have one class, or none.")
    # Of a column of whole numbers with a gap, pandas makes numbers such as 1.0 and NaN.
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None if value != value else value
    if value is None or (isinstance(value, int) and value < 0):
        return None
    return str(value).strip() or None


def split_text(value: Any) -> str | None:
    """Returns the split that a value tells, as "val" for "Validation", or `None`.

    Another name than those of train, val and test stands for itself.
    """
    text = "" if value is None else str(value).strip()
    return _SPLITS.get(text.lower(), text) or None


def split_of_word(word: str) -> str | None:
    """Returns the split that a word names, or `None`."""
    return _SPLITS.get(word.lower())
