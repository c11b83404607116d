"""Finding classes that share one prototype."""

from __future__ import annotations

from typing import Any

import numpy as np


def find_duplicate_groups(embeddings: Any, tolerance: float = 1e-3) -> list[list[int]]:
    """Finds classes whose prototypes are the same.

    OpenAI's ImageNet names repeat `missile` and `sunglasses`, so name-only prompts give two classes
    one text embedding. Such classes must not be each other's negatives in a triplet loss.

    Args:
        embeddings: array-like of shape `(classes, dim)`.
        tolerance: float. Unit vectors closer than this (Euclidean) count as the same.

    Returns:
        The groups of two or more class ids, each in ascending order.

    Example:
        >>> from keras_cmm.models import find_duplicate_groups
        >>> find_duplicate_groups([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
        [[0, 2]]
    """
    unit = np.asarray(embeddings, dtype="float64")
    unit = unit / np.maximum(np.linalg.norm(unit, axis=-1, keepdims=True), 1e-12)
    # Comparing all pairs is quadratic. Equal rows have equal projections on any direction, so
    # after sorting by one projection only neighbours within the tolerance can be equal.
    direction = np.random.default_rng(0).standard_normal(unit.shape[-1])
    projection = unit @ (direction / np.linalg.norm(direction))
    order = np.argsort(projection, kind="stable")
    group_of = np.arange(len(unit))
    for place, row in enumerate(order):
        for other in order[place + 1 :]:
            if projection[other] - projection[row] > tolerance:
                break
            if group_of[other] == group_of[row]:
                continue
            if np.linalg.norm(unit[row] - unit[other]) <= tolerance:
                group_of[group_of == group_of[other]] = group_of[row]
    groups: dict[int, list[int]] = {}
    for class_id, group in enumerate(group_of.tolist()):
        groups.setdefault(group, []).append(class_id)
    return [group for group in groups.values() if len(group) > 1]
