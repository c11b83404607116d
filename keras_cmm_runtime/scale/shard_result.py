"""What became of a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ShardResult:
    """What became of a part.

    Args:
        name: Name of the part, and of its file.
        rows: How many rows its file has.
        errors: How many of them are images that cannot be read.
        labels: How many rows that can be read each class has.
        seconds: What it took, without the reading of a file that was there already.
        is_new: Whether the file was written now. It was there already otherwise.
        failure: Why there is no file, or `None`.

    Example:
        >>> ShardResult("a", rows=2, errors=1, labels={"cat": 1}).failure is None
        True
    """

    name: str
    rows: int = 0
    errors: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    is_new: bool = False
    failure: str | None = None
