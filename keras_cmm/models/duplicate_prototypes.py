"""Finding classes that share one prototype."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.utils.embedding_rows import as_numbers
from keras_cmm_runtime.utils.check_number import check_number


def find_duplicate_groups(embeddings: Any, tolerance: float = 1e-3) -> list[list[int]]:
    """Finds classes whose prototypes are the same.

    OpenAI's ImageNet names repeat `missile` and `sunglasses`, so name-only prompts give two classes
    one text embedding. Such classes must not be each other's negatives in a triplet loss.

    Args:
        embeddings: array-like of shape `(classes, dim)`.
        tolerance: float. Unit vectors closer than this (Euclidean) count as the same.

    Returns:
        The groups of two or more class ids, each in ascending order.

    Raises:
        InputError: if `embeddings` are no numbers, or `tolerance` is out of range.

    Example:
        >>> from keras_cmm.models import find_duplicate_groups
        >>> find_duplicate_groups([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
        [[0, 2]]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    check_number("tolerance", tolerance, ">= 0")
    unit = as_numbers(embeddings, "embeddings").astype("float64")
    unit = unit / np.maximum(np.linalg.norm(unit, axis=-1, keepdims=True), 1e-12)
    # Rows that are equal are joined first: each would be a pair with every other.
    different, row_of = np.unique(unit, axis=0, return_inverse=True)
    first, second = _close_pairs(different, tolerance).T
    links = coo_array((np.ones(len(first)), (first, second)), shape=2 * (len(different),))
    _, group_of = connected_components(links, directed=False)
    groups: dict[int, list[int]] = {}
    for class_id, group in enumerate(group_of[row_of.ravel()].tolist()):
        groups.setdefault(group, []).append(class_id)
    return [group for group in groups.values() if len(group) > 1]


def _close_pairs(unit: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.int64]:
    """Returns the pairs of rows within `tolerance` of each other, shape `(pairs, 2)`."""
    from scipy.spatial import cKDTree

    # A tree is of use in few dimensions. Rows that are close have close projections on any
    # directions, and few other pairs have.
    directions = np.random.default_rng(0).standard_normal((unit.shape[-1], 8))
    projections = unit @ (directions / np.linalg.norm(directions, axis=0))
    pairs = cKDTree(projections).query_pairs(tolerance * 8**0.5, output_type="ndarray")
    apart = np.linalg.norm(unit[pairs[:, 0]] - unit[pairs[:, 1]], axis=-1)
    return pairs[apart <= tolerance]
