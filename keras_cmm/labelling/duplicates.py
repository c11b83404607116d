"""Images that are in a set twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from keras_cmm.labelling.finding import Finding
from keras_cmm.labelling.nearest_rows import nearest_rows
from keras_cmm_runtime.utils import unit_rows
from keras_cmm_runtime.utils.check_number import check_number

# As `keras_cmm.evaluation.find_copies`: copies of a picture have nearly the same embedding.
MIN_COSINE = 0.95
# Bounds the number of pairs: many images of one scene would give millions.
_MOST_COPIES = 5


def exact_duplicates(
    digests: Sequence[str | bytes | None],
    labels: npt.NDArray[np.integer],
    splits: Sequence[str | None] | None = None,
) -> list[Finding]:
    """Finds the images whose files are the same, byte by byte.

    Args:
        digests: A digest of each image's file, or `None` for an image that is not to be compared.
        labels: `(images,)` class ids.
        splits: The split of each image, or `None` if there are none.

    Returns:
        For each image that came before, in the order of the images: those of two classes first,
        then those of two splits.

    Example:
        >>> found = exact_duplicates(["a", "b", "a"], np.array([0, 0, 1]))
        >>> [(each.row, each.other, each.reason) for each in found]
        [(2, 0, 'the same file, in two classes')]
    """
    first: dict[str | bytes, int] = {}
    found = []
    for row, digest in enumerate(digests):
        if digest is None:
            continue
        other = first.setdefault(digest, row)
        if other != row:
            found.append(_finding("exact_duplicate", "the same file", row, other, labels, splits))
    return sorted(found, key=lambda each: -each.score)


def near_duplicates(
    embeddings: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    splits: Sequence[str | None] | None = None,
    min_cosine: float = MIN_COSINE,
) -> list[Finding]:
    """Finds the images whose embeddings are nearly the same.

    The memory that it takes does not grow with the number of images, but for the embeddings
    themselves. An image is compared with all others, so the time grows with the square.

    Args:
        embeddings: `(images, dim)`.
        labels: `(images,)` class ids.
        splits: The split of each image, or `None` if there are none.
        min_cosine: float in [0, 1]. The cosine from which two images are nearly the same.

    Returns:
        Pairs of images, those of two classes first, then those of two splits, the most alike first.
        An image is in five pairs with earlier images at most, its most alike ones.

    Raises:
        InputError: If `min_cosine` is out of range.

    Example:
        >>> rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.99, 0.01]])
        >>> [(each.row, each.other) for each in near_duplicates(rows, np.array([0, 1, 0]))]
        [(2, 0)]
    """
    check_number("min_cosine", min_cosine, "in [0, 1]")
    cosines, others = nearest_rows(unit_rows(embeddings), _MOST_COPIES, earlier=True)
    found = []
    for row, place in np.argwhere(cosines >= min_cosine).tolist():
        cosine = min(float(cosines[row, place]), 1.0)
        reason = f"nearly the same, cosine {cosine:.3f}"
        other = int(others[row, place])
        finding = _finding("near_duplicate", reason, row, other, labels, splits)
        found.append(finding._replace(score=finding.score + cosine))
    return sorted(found, key=lambda each: -each.score)


def _finding(
    kind: str,
    reason: str,
    row: int,
    other: int,
    labels: npt.NDArray[np.integer],
    splits: Sequence[str | None] | None,
) -> Finding:
    label, other_label = int(labels[row]), int(labels[other])
    score = 0.0
    if splits is not None and splits[row] != splits[other]:
        score += 2
        reason += f", in {splits[other]} and {splits[row]}"
    if label != other_label:
        score += 4
        reason += ", in two classes"
    return Finding(kind, score, reason, row, other, label, other_label)
