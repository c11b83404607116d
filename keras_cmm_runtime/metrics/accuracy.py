"""Accuracy in its usual forms. All rates are in percent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def top_1(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """Returns top-1 accuracy in percent, see `top_k`.

    Example:
        >>> import numpy as np
        >>> top_1(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
        50.0
    """
    return top_k(logits, labels, k=1)


def top_k(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], k: int) -> float:
    """Returns top-k accuracy in percent.

    Args:
        logits: Scores, shape `(batch, classes)`. Of equal scores the lower class id comes first.
        labels: Class ids, shape `(batch,)`.
        k: Number of guesses, 1 or more.

    Returns:
        Percentage of rows whose label is among their k highest scores.

    Example:
        >>> import numpy as np
        >>> top_k(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([1, 2]), k=2)
        50.0
    """
    own = logits[np.arange(len(labels)), labels][:, None]
    tied_before = (logits == own) & (np.arange(logits.shape[1]) < labels[:, None])
    # `not <=` rather than `>`: a row of NaN must not count as a hit.
    rank = (~(logits <= own) | tied_before).sum(axis=1)
    return float(100.0 * np.mean(rank < k))


def confusion_matrix(
    predictions: npt.NDArray[np.integer], labels: npt.NDArray[np.integer], num_classes: int
) -> npt.NDArray[np.int64]:
    """Counts how often each true class was predicted as each class.

    Args:
        predictions: Predicted class ids, shape `(batch,)`.
        labels: True class ids, shape `(batch,)`.
        num_classes: Number of classes.

    Returns:
        Counts, shape `(classes, classes)`: row = true class, column = predicted class.

    Example:
        >>> import numpy as np
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), num_classes=2)
        array([[1, 1],
               [0, 1]])
    """
    cells = np.asarray(labels, "int64") * num_classes + predictions
    counts: npt.NDArray[np.int64] = np.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def per_class_accuracy(
    predictions: npt.NDArray[np.integer], labels: npt.NDArray[np.integer], num_classes: int
) -> npt.NDArray[np.float64]:
    """Returns the accuracy on the rows of each class (its recall), in percent.

    A class without a row has NaN.

    Args:
        predictions: Predicted class ids, shape `(batch,)`.
        labels: True class ids, shape `(batch,)`.
        num_classes: Number of classes.

    Returns:
        Percentages, shape `(classes,)`.

    Example:
        >>> import numpy as np
        >>> per_class_accuracy(np.array([0, 1, 1]), np.array([0, 0, 1]), num_classes=3)
        array([ 50., 100.,  nan])
    """
    rows = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[predictions == labels], minlength=num_classes)
    return 100.0 * np.divide(hits, rows, out=np.full(num_classes, np.nan), where=rows > 0)


def macro_f1(predictions: npt.NDArray[np.integer], labels: npt.NDArray[np.integer]) -> float:
    """Returns the mean of the classes' F1 scores, in percent.

    Args:
        predictions: Predicted class ids, shape `(batch,)`.
        labels: True class ids, shape `(batch,)`.

    Returns:
        Mean over the classes that occur among labels or predictions.

    Example:
        >>> import numpy as np
        >>> round(macro_f1(np.array([0, 1, 1]), np.array([0, 0, 1])), 2)
        66.67
    """
    # F1 = 2 hits / (rows of the class + predictions of the class).
    hits = np.bincount(labels[predictions == labels], minlength=1)
    both = np.bincount(np.concatenate([labels, predictions]))
    hits = np.pad(hits, (0, len(both) - len(hits)))
    return float(100.0 * np.mean(2.0 * hits[both > 0] / both[both > 0]))


def calibration_error(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], bins: int = 15
) -> float:
    """Returns the expected calibration error (ECE), from 0 to 1.

    Args:
        probabilities: Class probabilities, shape `(batch, classes)`.
        labels: Class ids, shape `(batch,)`.
        bins: Number of equal bins of the highest probability.

    Returns:
        The mean distance of confidence and accuracy over the bins, weighted by their rows.

    Example:
        >>> import numpy as np
        >>> calibration_error(np.array([[0.75, 0.25], [0.25, 0.75]]), np.array([0, 0]))
        0.25

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.
    """
    is_right = probabilities.argmax(axis=1) == labels
    return confidence_error(probabilities.max(axis=1), is_right, bins)


def confidence_error(
    confidence: npt.NDArray[np.floating], is_right: npt.NDArray[np.bool_], bins: int = 15
) -> float:
    """Returns the expected calibration error of rows whose best classes are known.

    Args:
        confidence: The highest probability of each row, shape `(batch,)`.
        is_right: Whether it is that of the right class, shape `(batch,)`.
        bins: as in `calibration_error`.

    Example:
        >>> import numpy as np
        >>> confidence_error(np.array([0.75, 0.75]), np.array([True, False]))
        0.25
    """
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    total_confidence = np.bincount(bin_of, confidence, minlength=bins)
    total_right = np.bincount(bin_of, is_right, minlength=bins)
    # Each bin is weighted by its rows, so the sums need no division by its size.
    return float(np.abs(total_confidence - total_right).sum() / len(confidence))
