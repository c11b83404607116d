"""Labels that look wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_cmm.labelling.finding import Finding


def wrong_labels(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> list[Finding]:
    """Finds the labels that look wrong.

    These are of images that a classifier names otherwise, and whose label is less probable than by
    guessing. `docs/labelling.md` says how many of them are wrong, and compares the rule with
    confident learning.

    Args:
        labels: `(images,)` class ids.
        probabilities: `(images, classes)`, of classifiers that were made without the image, see
            `out_of_fold`. Rows of NaN are left out.

    Returns:
        The images, that with the least probable label first. `score` is what the probability of the
        label lacks to 1.

    Example:
        >>> labels = np.array([0, 0, 1, 1, 0])
        >>> second = np.array([0.1, 0.2, 0.8, 0.9, 0.95])
        >>> [each.row for each in wrong_labels(labels, np.stack([1 - second, second], axis=1))]
        [4]
    """
    tested = np.flatnonzero(~np.isnan(probabilities[:, 0]))
    rows, given = probabilities[tested], np.asarray(labels)[tested]
    own, guesses = rows[np.arange(len(rows)), given], rows.argmax(axis=1)
    found = np.flatnonzero((guesses != given) & (own < 1 / rows.shape[1]))
    return [
        Finding(
            "wrong_label",
            float(1 - own[each]),
            f"seems to be of another class, by {100 * rows[each, guesses[each]]:.0f}% to "
            f"{100 * own[each]:.1f}%",
            row=int(tested[each]),
            label=int(given[each]),
            other_label=int(guesses[each]),
        )
        for each in found[np.argsort(own[found], kind="stable")]
    ]
