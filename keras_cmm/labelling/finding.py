"""Something about a set of labelled images that its owner should look at."""

from __future__ import annotations

from typing import NamedTuple

KINDS = {
    "wrong_label": "Labels that look wrong",
    "exact_duplicate": "Exact copies",
    "near_duplicate": "Near copies",
    "damaged": "Damaged images",
    "odd": "Odd images",
    "silent_name": "Class names that tell nothing",
    "alike_classes": "Classes that cannot be told apart",
}
"""The kinds of findings, with their headings."""


class Finding(NamedTuple):
    """Something to look at: an image, two images, a class or two classes.

    Args:
        kind: One of `KINDS`.
        score: Findings of a kind with a larger score should be looked at first.
        reason: What was found, in words.
        row: Number of the image, or `None` if it is about classes.
        other: Number of the image that it is a copy of, or `None`.
        label: The class of the image, or the class that it is about; `None` if not known.
        other_label: The class that the image seems to be of, that of the other image, or the other
            class; or `None`.
    """

    kind: str
    score: float
    reason: str
    row: int | None = None
    other: int | None = None
    label: int | None = None
    other_label: int | None = None
