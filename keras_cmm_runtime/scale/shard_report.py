"""What became of all parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from keras_cmm_runtime.scale.shard_result import ShardResult


@dataclass
class ShardReport:
    """What became of all parts of a run.

    Its size depends on the number of parts and of classes, and not on that of images.

    Attributes:
        rows: Rows of all files.
        errors: Those of images that cannot be read.
        labels: Rows that can be read of each class.
        shards: For each file its name, its rows and its errors.
        new: Number of files that were written now.
        failed: For each part without a file the reason.
        seconds: Time of all workers together.

    Example:
        >>> report = ShardReport()
        >>> report.add(ShardResult("a", rows=2, errors=1, labels={"cat": 1}, is_new=True))
        >>> report.rows, report.errors, report.new
        (2, 1, 1)
    """

    rows: int = 0
    errors: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    shards: list[tuple[str, int, int]] = field(default_factory=list)
    new: int = 0
    new_rows: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, result: ShardResult) -> None:
        """Counts a part."""
        if result.failure is not None:
            self.failed[result.name] = result.failure
            return
        self.rows += result.rows
        self.errors += result.errors
        self.labels.update(result.labels)
        self.shards.append((result.name, result.rows, result.errors))
        self.new += result.is_new
        self.new_rows += result.rows if result.is_new else 0
        self.seconds += result.seconds
