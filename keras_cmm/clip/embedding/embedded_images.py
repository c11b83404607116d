"""What embedding images gives."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class EmbeddedImages(NamedTuple):
    """Image embeddings and the numbers of their images.

    Args:
        embeddings: float32 `(n, dim)`, rows of unit length.
        rows: int64 `(n,)`. For each embedding, the number of its image among those given.
    """

    embeddings: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
