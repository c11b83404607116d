"""The final classifier: overall numbers, accuracy by class and confusions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from keras_cmm.evaluation import (
    confusion_matrix,
    interval_of_accuracy,
    macro_f1,
    top_k,
    wilson_interval,
)
from keras_cmm.report.classifier_result import ClassifierResult

# A matrix of more classes cannot be read. The most frequent confusions are listed anyway.
MAX_CLASSES = 150
# Longer names are whole in the lists of the report, but would leave a matrix no place.
_MAX_LABEL = 60
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

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval, in percent."""
        return wilson_interval(self.right, self.total)


class Headline(NamedTuple):
    """A number of the whole test set in percent, and its 95% interval if it is an accuracy."""

    name: str
    percent: float
    interval: tuple[float, float] | None = None


def overall_numbers(result: ClassifierResult) -> list[Headline]:
    """Returns the headline numbers."""
    total = len(result.labels)
    numbers = []
    for k in (1, 5) if len(result.class_names) > 5 else (1,):
        accuracy = top_k(result.probabilities, result.labels, k)
        interval = interval_of_accuracy(accuracy, total)
        numbers.append(Headline(f"Top-{k} accuracy", accuracy, interval))
    return [*numbers, Headline("Macro F1", macro_f1(result.predictions, result.labels))]


def count_confusions(result: ClassifierResult) -> np.ndarray:
    """Returns the confusion matrix: row = true class, column = predicted class."""
    return confusion_matrix(result.predictions, result.labels, len(result.class_names))


def class_scores(result: ClassifierResult) -> list[ClassScore]:
    """Returns the classes that have test pictures, weakest first."""
    matrix = count_confusions(result)
    scores = [
        ClassScore(name, int(matrix[i, i]), int(matrix[i].sum()))
        for i, name in enumerate(result.class_names)
        if matrix[i].any()
    ]
    return sorted(scores, key=lambda score: score.accuracy)


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
