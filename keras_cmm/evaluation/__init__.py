"""Evaluation: metrics, the modality gap, the few-shot benchmark and its summary."""

from keras_cmm.evaluation.base_to_new import (
    can_classify_new,
    run_base_to_new,
)
from keras_cmm.evaluation.benchmark_data import BenchmarkData
from keras_cmm.evaluation.confusion import Confusion, frequent_confusions
from keras_cmm.evaluation.copies import Copies, find_copies
from keras_cmm.evaluation.mapped_embeddings import MappedEmbeddings
from keras_cmm.evaluation.method_ranks import MethodRanks, rank_methods
from keras_cmm.evaluation.modality_gap import ModalityGap, measure_modality_gap
from keras_cmm.evaluation.picture_signature import PictureSignature
from keras_cmm.evaluation.protocol import Run, make_task, plan_runs
from keras_cmm.evaluation.record import versions
from keras_cmm.evaluation.runner import Outcome, run_benchmark, run_plan
from keras_cmm.evaluation.shifted_test_set import ShiftedTestSet
from keras_cmm.evaluation.single_run import run_task
from keras_cmm.evaluation.transductive_run import run_transductive
from keras_cmm_runtime.metrics.accuracy import (
    calibration_error,
    confusion_matrix,
    macro_f1,
    per_class_accuracy,
    top_1,
    top_k,
)
from keras_cmm_runtime.metrics.wilson_interval import interval_of_accuracy, wilson_interval
from keras_cmm_runtime.records import (
    PUBLISHED_RESULTS,
    PublishedResult,
    Regret,
    average_over_datasets,
    find_regrets,
    grouped,
    harmonic_mean,
    own_and_shifted,
    short_draws,
    summarize,
    summarize_and_average,
    summarize_base_to_new,
)

__all__ = [
    "PUBLISHED_RESULTS",
    "BenchmarkData",
    "Confusion",
    "Copies",
    "MappedEmbeddings",
    "MethodRanks",
    "ModalityGap",
    "Outcome",
    "PictureSignature",
    "PublishedResult",
    "Regret",
    "Run",
    "ShiftedTestSet",
    "average_over_datasets",
    "calibration_error",
    "can_classify_new",
    "confusion_matrix",
    "find_copies",
    "find_regrets",
    "frequent_confusions",
    "grouped",
    "harmonic_mean",
    "interval_of_accuracy",
    "macro_f1",
    "make_task",
    "measure_modality_gap",
    "own_and_shifted",
    "per_class_accuracy",
    "plan_runs",
    "rank_methods",
    "run_base_to_new",
    "run_benchmark",
    "run_plan",
    "run_task",
    "run_transductive",
    "short_draws",
    "summarize",
    "summarize_and_average",
    "summarize_base_to_new",
    "top_1",
    "top_k",
    "versions",
    "wilson_interval",
]
