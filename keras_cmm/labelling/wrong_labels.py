"""Labels that look wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_cmm.labelling.finding import Finding


def wrong_labels(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> list[Finding]:
    """Finds the labels that look wrong, by confident learning.

    A classifier is as sure of a class as it is, on average, of the images with that label. An image
    for which it is as sure of another class, or surer, and which it names otherwise than its label,
    is likely to be of that other class.

    Args:
        labels: `(images,)` class ids.
        probabilities: `(images, classes)`, of classifiers that were made without the image, see
            `out_of_fold`. Rows of NaN are left out.

    Returns:
        The images, the most suspicious first. `score` is the lead of the other class over the
        label, from 0 to 1.

    Example:
        >>> labels = np.array([0, 0, 1, 1, 0])
        >>> second = np.array([0.1, 0.2, 0.8, 0.9, 0.95])
        >>> [each.row for each in wrong_labels(labels, np.stack([1 - second, second], axis=1))]
        [4]

    References:
        Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset
        Labels", JAIR 2021, arXiv:1911.00068: the off-diagonal counts of the confident joint.
    """
    tested = np.flatnonzero(~np.isnan(probabilities[:, 0]))
    rows, given = probabilities[tested], np.asarray(labels)[tested]
    if not len(rows):
        return []
    own = rows[np.arange(len(rows)), given]
    counts = np.bincount(given, minlength=rows.shape[1])
    sums = np.bincount(given, weights=own, minlength=rows.shape[1])
    # A class without images must be as sure as classes are on average.
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), own.mean())
    # Probabilities are float32, and their means are rounded.
    confident = rows >= thresholds - 1e-6
    guesses = np.where(confident, rows, -1.0).argmax(axis=1)
    found = np.flatnonzero(
        confident.any(axis=1) & (guesses != given) & (rows.argmax(axis=1) != given)
    )
    leads = rows[found, guesses[found]] - own[found]
    return [
        Finding(
            "wrong_label",
            float(rows[each, guesses[each]] - own[each]),
            f"seems to be of another class, by {100 * rows[each, guesses[each]]:.0f}% to "
            f"{100 * own[each]:.0f}%",
            row=int(tested[each]),
            label=int(given[each]),
            other_label=int(guesses[each]),
        )
        for each in found[np.argsort(-leads, kind="stable")]
    ]
