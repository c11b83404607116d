"""The classes that are named for images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.unknowns.held_out_scores import HeldOutScores
from keras_cmm_runtime.utils import same_names
from keras_cmm_runtime.utils.check_number import check_int

UNKNOWN = "unknown"


def named_classes(
    class_names: Sequence[str],
    probabilities: npt.NDArray[np.floating],
    top_k: int = 5,
    scores: HeldOutScores | None = None,
    reject: float | None = None,
    coverage: float | None = None,
) -> list[list[tuple[str, float]]]:
    """Returns `(class name, probability)` pairs for each image, the most probable first.

    Args:
        class_names: the names of the classes.
        probabilities: `(images, classes)`.
        top_k: int, at least 1. How many classes, where there is no `coverage`.
        scores: of held-out images, for `reject` and `coverage`, or `None` if there are none.
        reject: float in (0, 1) or `None`, see `HeldOutScores.is_unknown`. An unknown image gets one
            pair: "unknown" and what its most probable class lacks to 1.
        coverage: float in (0, 1) or `None`, see `HeldOutScores.prediction_sets`. An image gets the
            classes of its set.

    Raises:
        InputError: if there are no scores, or too few for the rate.

    Example:
        >>> named_classes(["ant", "bee"], np.array([[0.25, 0.75]]), top_k=1)
        [[('bee', 0.75)]]
    """
    check_int("top_k", top_k, 1)
    counts = np.full(len(probabilities), top_k)
    unknown = np.zeros(len(probabilities), dtype=bool)
    if reject is not None or coverage is not None:
        if scores is None:
            raise InputError(
                "the classifier does not know how sure it is of new images. Fit it again, with two "
                "images or more of a class, or call its `calibrate_unknowns` with the training "
                "images; then save it, and export it if it is exported. Adding or removing a class "
                "undoes this."
            )
        if coverage is not None:
            counts = scores.prediction_sets(probabilities, coverage).sum(axis=1)
        if reject is not None:
            if same_names([UNKNOWN], class_names):
                raise InputError(
                    f"there is a class {UNKNOWN!r}, which could not be told from unknown images; "
                    "rename it, or leave out `reject`."
                )
            unknown = scores.is_unknown(probabilities, reject)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [
        [(UNKNOWN, float(1 - row.max()))]
        if is_unknown
        else [(class_names[column], float(row[column])) for column in columns[:count]]
        for row, columns, count, is_unknown in zip(
            probabilities, order, counts, unknown, strict=True
        )
    ]
