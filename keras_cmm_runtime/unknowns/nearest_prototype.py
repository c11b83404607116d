"""How like the classes an image is, as a distance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.utils.unit_rows import unit_rows

# Bounds memory: so many images at a time are compared with all prototypes.
_BATCH = 1024


def nearest_prototype(
    embeddings: npt.NDArray[np.floating],
    transform: npt.NDArray[np.floating],
    prototypes: npt.NDArray[np.floating],
) -> npt.NDArray[np.float32]:
    """Returns the cosine of each mapped image to the nearest prototype.

    Args:
        embeddings: `(images, dim)`.
        transform: `(dim, dim)`. Mapped images are `x @ transform`.
        prototypes: `(classes, dim)`, in the space of mapped images.

    Returns:
        float32 `(images,)`, from -1 to 1.

    Example:
        >>> import numpy as np
        >>> nearest_prototype(np.eye(3), np.eye(3), np.eye(2, 3)).tolist()
        [1.0, 1.0, 0.0]
    """
    rows = np.asarray(embeddings, dtype="float32")
    columns = unit_rows(prototypes).T
    found = np.empty(len(rows), dtype="float32")
    for first in range(0, len(rows), _BATCH):
        batch = slice(first, first + _BATCH)
        found[batch] = (unit_rows(rows[batch] @ transform) @ columns).max(axis=1)
    return found
