"""Which images to label next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def by_margin(probabilities: npt.NDArray[np.floating], most: int) -> list[int]:
    """Returns the images of which a trained classifier is least sure.

    Args:
        probabilities: `(images, classes)`, of two classes or more.
        most: How many.

    Returns:
        The numbers of the images whose two most probable classes lie closest, the closest first.

    Example:
        >>> by_margin(np.array([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7]]), 2)
        [1, 2]

    References:
        Scheffer, Decomain and Wrobel, "Active hidden Markov models for information extraction",
        IDA 2001.
    """
    best = np.sort(probabilities, axis=1)[:, -2:]
    margins = best[:, 1] - best[:, 0]
    return [int(row) for row in np.argsort(margins, kind="stable")[:most]]


def by_class(
    probabilities: npt.NDArray[np.floating], counts: npt.NDArray[np.integer], most: int
) -> list[int]:
    """Returns images of all classes, as CLIP sees them, when nothing was trained.

    Args:
        probabilities: `(images, classes)`.
        counts: `(classes,)`. How many labelled images each class has.
        most: How many.

    Returns:
        The numbers of images, for the class with the fewest images first, the surest of each class
        first.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
        >>> by_class(probabilities, np.array([0, 0]), 3)
        [0, 2, 1]
    """
    predicted = probabilities.argmax(axis=1)
    surest = {
        label: [
            int(row)
            for row in np.argsort(-probabilities[:, label], kind="stable")
            if predicted[row] == label
        ]
        for label in range(probabilities.shape[1])
    }
    have = [int(count) for count in counts]
    chosen: list[int] = []
    while len(chosen) < most and any(surest.values()):
        label = min((each for each, rows in surest.items() if rows), key=lambda each: have[each])
        chosen.append(surest[label].pop(0))
        have[label] += 1
    return chosen
