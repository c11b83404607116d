"""The table of the benchmarks, read without Keras."""

from keras_cmm_runtime.benchmarks.benchmark_table import benchmark_table

__all__ = ["benchmark_table"]
