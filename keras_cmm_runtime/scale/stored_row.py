"""One image of a part, as it is stored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One image of a part.

    Args:
        id: Its identity among all images, such as `cat/1.jpg` or `photos.tar/cat/1.jpg`.
        label: Its class, or `None` where nothing tells it.
        split: Its split, or `None`.
        data: The bytes of the image file, or `None` if they cannot be had.
        error: Why they cannot be had, or `None`.

    Example:
        >>> StoredRow("cat/1.jpg", "cat", None, b"...").error is None
        True
    """

    id: str
    label: str | None
    split: str | None
    data: bytes | None
    error: str | None = None
