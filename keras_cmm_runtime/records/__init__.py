"""Records of benchmark runs: their summary and regret, and what others have published."""

from keras_cmm_runtime.records.base_to_new_summary import harmonic_mean, summarize_base_to_new
from keras_cmm_runtime.records.method_names import METHOD_NAMES
from keras_cmm_runtime.records.published_result import PUBLISHED_RESULTS, PublishedResult
from keras_cmm_runtime.records.regret import Regret, find_regrets
from keras_cmm_runtime.records.summary import (
    average_over_datasets,
    grouped,
    own_and_shifted,
    short_draws,
    summarize,
    summarize_and_average,
)

__all__ = [
    "METHOD_NAMES",
    "PUBLISHED_RESULTS",
    "PublishedResult",
    "Regret",
    "average_over_datasets",
    "find_regrets",
    "grouped",
    "harmonic_mean",
    "own_and_shifted",
    "short_draws",
    "summarize",
    "summarize_and_average",
    "summarize_base_to_new",
]
