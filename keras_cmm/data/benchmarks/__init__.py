"""The field's 11 benchmarks and 4 distribution shifts, by name."""

from keras_cmm.data.benchmarks.benchmark import Benchmark
from keras_cmm.data.benchmarks.benchmark_facts import BenchmarkFacts
from keras_cmm.data.benchmarks.registry import BENCHMARKS, get_benchmark

__all__ = ["BENCHMARKS", "Benchmark", "BenchmarkFacts", "get_benchmark"]
