"""Accuracy and its intervals."""

from keras_cmm_runtime.metrics.accuracy import (
    calibration_error,
    confusion_matrix,
    macro_f1,
    per_class_accuracy,
    top_1,
    top_k,
)
from keras_cmm_runtime.metrics.wilson_interval import interval_of_accuracy, wilson_interval

__all__ = [
    "calibration_error",
    "confusion_matrix",
    "interval_of_accuracy",
    "macro_f1",
    "per_class_accuracy",
    "top_1",
    "top_k",
    "wilson_interval",
]
