"""Class names that tell nothing, and classes that cannot be told apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from keras_cmm.labelling.finding import Finding
from keras_cmm_runtime.metrics import wilson_interval
from keras_cmm_runtime.utils import unit_rows

# Two-sided 5 %: a name that tells nothing passes once in 40 times.
_Z = 1.96
# The distribution of the ranks is not normal with fewer.
_LEAST_IMAGES = 3
# Below this, two classes are named by chance as much as by what is seen.
_TOLD_APART = 80.0
_ROWS = 4096


def silent_names(
    embeddings: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    text_embeddings: npt.NDArray[np.floating],
) -> list[Finding]:
    """Finds the classes whose names tell nothing of their images.

    The text of a class should be more similar to the images of the class than to others. How often
    it is, over all pairs of an image of the class and another one, is 50 % by chance. A name tells
    nothing if this share could be chance, by the test of Mann and Whitney.

    Args:
        embeddings: `(images, dim)`.
        labels: `(images,)` class ids.
        text_embeddings: `(classes, dim)`, by the same model.

    Returns:
        The classes of three images or more, the lowest share first.

    Example:
        >>> rows, labels = np.repeat(np.eye(3), 5, axis=0), np.repeat([0, 1, 2], 5)
        >>> texts = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> [(each.label, each.reason) for each in silent_names(rows, labels, texts)]
        [(2, 'its name finds its images in 25% of comparisons, where chance finds 50%')]
    """
    from scipy.stats import rankdata

    rows, texts = unit_rows(embeddings), unit_rows(text_embeddings)
    found = []
    for label in np.unique(labels).tolist():
        inside = labels == label
        own, others = int(inside.sum()), int((~inside).sum())
        if own < _LEAST_IMAGES or others < _LEAST_IMAGES:
            continue
        ranks = rankdata(rows @ texts[label])[inside]
        share = (ranks.sum() - own * (own + 1) / 2) / (own * others)
        deviation = np.sqrt((own + others + 1) / (12 * own * others))
        if share <= 0.5 + _Z * deviation:
            reason = (
                f"its name finds its images in {100 * share:.0f}% of comparisons, where chance "
                "finds 50%"
            )
            found.append(Finding("silent_name", float(1 - share), reason, label=label))
    return sorted(found, key=lambda each: -each.score)


def alike_classes(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> list[Finding]:
    """Finds the pairs of classes that a classifier cannot tell apart.

    Of the images of both classes, it counts those whose own class is more probable than the other.
    Chance gives 50 %. Two classes cannot be told apart if the upper end of the 95 % interval
    (Wilson) of that share is below 80 %. So few images alone are no reason.

    Args:
        labels: `(images,)` class ids.
        probabilities: `(images, classes)`, see `out_of_fold`. Rows of NaN are left out.

    Returns:
        Pairs of classes, those that are told apart least first.

    Example:
        >>> labels = np.repeat([0, 1, 2], 20)
        >>> alike = np.tile([[0.5, 0.4, 0.1]], (20, 1))
        >>> third = np.tile([[0.1, 0.1, 0.8]], (20, 1))
        >>> found = alike_classes(labels, np.concatenate([alike, alike, third]))
        >>> [(each.label, each.other_label, each.reason) for each in found]
        [(0, 1, 'told apart for 20 of 40 images')]
    """
    classes = probabilities.shape[1]
    counts = np.zeros(classes, dtype="int64")
    first = np.zeros((classes, classes), dtype="int64")
    for rows, given in _tested(labels, probabilities):
        own = rows[np.arange(len(rows)), given][:, None]
        counts += np.bincount(given, minlength=classes)
        np.add.at(first, given, own > rows)
    right, total = first + first.T, counts[:, None] + counts
    both = np.outer(counts > 0, counts > 0) & (right < _TOLD_APART / 100 * total)
    found = []
    for one, other in np.argwhere(np.triu(both, 1)).tolist():
        named, images = int(right[one, other]), int(total[one, other])
        if wilson_interval(named, images)[1] < _TOLD_APART:
            reason = f"told apart for {named} of {images} images"
            found.append(
                Finding("alike_classes", 1 - named / images, reason, label=one, other_label=other)
            )
    return sorted(found, key=lambda each: -each.score)


def _tested(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> Iterator[tuple[npt.NDArray[np.floating], npt.NDArray[np.int64]]]:
    """Yields the probabilities and labels of tested images, some at a time to bound the memory."""
    for start in range(0, len(labels), _ROWS):
        rows, given = probabilities[start : start + _ROWS], labels[start : start + _ROWS]
        tested = ~np.isnan(rows[:, 0])
        yield rows[tested], np.asarray(given[tested], dtype="int64")
