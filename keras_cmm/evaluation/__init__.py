"""Evaluation: metrics, the modality gap, the few-shot benchmark and its summary."""

from keras_cmm.evaluation.benchmark import make_task, run_benchmark
from keras_cmm.evaluation.metrics import (
    confusion_matrix,
    macro_f1,
    per_class_accuracy,
    top_1,
    top_k,
)
from keras_cmm.evaluation.modality_gap import ModalityGap, measure_modality_gap
from keras_cmm.evaluation.summary import average_over_datasets, summarize

__all__ = [
    "ModalityGap",
    "average_over_datasets",
    "confusion_matrix",
    "macro_f1",
    "make_task",
    "measure_modality_gap",
    "per_class_accuracy",
    "run_benchmark",
    "summarize",
    "top_1",
    "top_k",
]
