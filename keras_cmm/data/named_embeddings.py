"""Embeddings of a data set's images by a further encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class NamedEmbeddings:
    """Embeddings of the images of an `EmbeddingSet` by a further encoder, such as DINOv3.

    Their rows are those of the set: row `n` of `train` is the image of row `n` of
    `train_embeddings`. The width may differ from that of CLIP.

    Args:
        train: `(train, also_dim)` floats.
        test: `(test, also_dim)` floats.
        val: `(val, also_dim)` floats, or `None` where the set has no validation rows.

    Example:
        >>> import numpy as np
        >>> NamedEmbeddings(train=np.eye(4, 8), test=np.eye(2, 8)).dim
        8
    """

    train: npt.NDArray[np.floating]
    test: npt.NDArray[np.floating]
    val: npt.NDArray[np.floating] | None = None

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return int(self.train.shape[1])

    def tensors(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Returns the arrays by their names in a file, such as `train_embeddings.dinov3`."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {
            f"{part}_embeddings.{name}": rows for part, rows in parts.items() if rows is not None
        }
