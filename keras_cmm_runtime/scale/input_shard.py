"""A part of the images, which one worker reads and of which it writes one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keras_cmm_runtime.scale.storage import Storage


@dataclass(frozen=True)
class InputShard:
    """A part of the images: the unit of work.

    Args:
        name: Name of the output file, without a suffix. It depends on the part alone, and not on
            what other parts there are.
        kind: `"tar"` for a tar file, `"parquet"` for a Parquet file with image bytes, or `"files"`
            for image files.
        storage: Where the parts lie.
        paths: The file in `storage`, or the image files.
        labels: For `"files"`, the class of each file, or `None` where nothing tells it.
        splits: For `"files"`, the split of each file, such as "train", or `None`. For the other
            kinds, one split for all rows or nothing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     InputShard("a-1f", "tar", Storage(folder), ("a.tar",)).paths
        ('a.tar',)
    """

    name: str
    kind: Literal["tar", "parquet", "files"]
    storage: Storage
    paths: tuple[str, ...]
    labels: tuple[str | None, ...] = ()
    splits: tuple[str | None, ...] = ()
