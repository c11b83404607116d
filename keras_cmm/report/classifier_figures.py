"""The final classifier: overall numbers, accuracy by class and confusions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from keras_cmm.evaluation import confusion_matrix, macro_f1, top_k
from keras_cmm.report.classifier_result import ClassifierResult

# A matrix of more classes cannot be read. The most frequent confusions are listed anyway.
MAX_CLASSES = 150
_MAX_LABEL = 24
# Width of the card on a wide page, in pixels, and mean width of a letter, in font sizes.
_MATRIX_WIDTH = 1066
_LETTER = 0.62


class ClassScore(NamedTuple):
    """Number of test pictures of one class, and how many of them were named right."""

    name: str
    right: int
    total: int

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100.0 * self.right / self.total


def overall_numbers(result: ClassifierResult) -> list[tuple[str, float]]:
    """Returns the headline numbers, in percent."""
    numbers = [("Top-1 accuracy", top_k(result.probabilities, result.labels, k=1))]
    if len(result.class_names) > 5:
        numbers.append(("Top-5 accuracy", top_k(result.probabilities, result.labels, k=5)))
    return [*numbers, ("Macro F1", macro_f1(result.predictions, result.labels))]


def count_confusions(result: ClassifierResult) -> np.ndarray:
    """Returns the confusion matrix: row = true class, column = predicted class."""
    return confusion_matrix(result.predictions, result.labels, len(result.class_names))


def class_scores(result: ClassifierResult) -> list[ClassScore]:
    """Returns the classes that have test pictures, best first."""
    matrix = count_confusions(result)
    scores = [
        ClassScore(name, int(matrix[i, i]), int(matrix[i].sum()))
        for i, name in enumerate(result.class_names)
        if matrix[i].any()
    ]
    return sorted(scores, key=lambda score: -score.accuracy)


def matrix_chart(result: ClassifierResult) -> dict[str, Any] | None:
    """Returns the coordinates of the confusion matrix in pixels, or `None` for too many classes."""
    names = result.class_names
    if len(names) > MAX_CLASSES:
        return None
    font = 12 if len(names) <= 50 else 10
    margin = 12 + round(_LETTER * font * max(len(_shorten(name)) for name in names))
    size = int(np.clip((_MATRIX_WIDTH - margin) // len(names), font, 34))
    matrix = count_confusions(result)
    cells = [
        {
            "x": margin + column * size,
            "y": margin + row * size,
            "right": row == column,
            "count": int(matrix[row, column]),
            "total": int(matrix[row].sum()),
            # The square root keeps a single error among many pictures visible.
            "strength": round(float(np.sqrt(matrix[row, column] / matrix[row].sum())), 2),
            "name": names[row],
            "taken_for": names[column],
        }
        for row, column in np.argwhere(matrix)
    ]
    return {
        "size": size,
        "font": font,
        "margin": margin,
        "span": size * len(names),
        "with_counts": size >= 20,
        "labels": [
            {"name": name, "short": _shorten(name), "at": margin + (i + 0.5) * size}
            for i, name in enumerate(names)
        ],
        "cells": cells,
    }


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_LABEL else name[: _MAX_LABEL - 1] + "…"
