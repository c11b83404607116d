"""Accuracies in messages."""

from __future__ import annotations


def with_interval(accuracy: float, images: int) -> str:
    """Returns an accuracy in percent with the interval that the number of images leaves.

    Args:
        accuracy: Percentage of the images that were named right.
        images: Number of images.
    """
    return f"{accuracy:.1f}% (95% interval {interval(accuracy, images)}%)"


def interval(accuracy: float, images: int) -> str:
    """Returns Wilson's 95% interval of an accuracy, such as `39.1-86.2`."""
    from keras_cmm_runtime.metrics import interval_of_accuracy

    low, high = interval_of_accuracy(accuracy, images)
    return f"{low:.1f}-{high:.1f}"
