"""Running workers on all parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from keras_cmm_runtime.scale.engine_options import EngineOptions
from keras_cmm_runtime.scale.input_shard import InputShard
from keras_cmm_runtime.scale.local_engine import run_on_processes
from keras_cmm_runtime.scale.ray_engine import run_on_ray
from keras_cmm_runtime.scale.shard_report import ShardReport
from keras_cmm_runtime.scale.shard_result import ShardResult
from keras_cmm_runtime.scale.shard_worker import MakeWorker


def run_workers(
    options: EngineOptions,
    shards: Callable[[], Iterable[InputShard]],
    make_worker: MakeWorker,
    progress: Callable[[ShardReport], None] | None = None,
) -> ShardReport:
    """Runs workers on all parts.

    Args:
        options: What runs them.
        shards: Lists the parts. It must be picklable.
        make_worker: Makes the worker of a process. It must be picklable.
        progress: Called after each part.

    Returns:
        What became of the parts.
    """
    report = ShardReport()
    seen: set[str] = set()
    for result in _results(options, shards, make_worker):
        # A list may have the same part twice.
        if result.name in seen:
            continue
        seen.add(result.name)
        report.add(result)
        if progress is not None:
            progress(report)
    return report


def _results(
    options: EngineOptions, shards: Callable[[], Iterable[InputShard]], make_worker: MakeWorker
) -> Iterator[ShardResult]:
    if options.engine == "local":
        workers = options.num_workers or os.cpu_count() or 1
        return run_on_processes(shards(), make_worker, workers, options.setup)
    return run_on_ray(shards, make_worker, options)
