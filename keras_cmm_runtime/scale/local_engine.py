"""Processes of this machine."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale.input_shard import InputShard
from keras_cmm_runtime.scale.shard_result import ShardResult
from keras_cmm_runtime.scale.shard_worker import MakeWorker, ShardWorker
from keras_cmm_runtime.scale.work_list import MAX_TRIES, WorkList

# Each process has one core, so a part has the same bits whatever the number of processes.
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# The worker of this process, which `_begin` makes.
_worker: list[ShardWorker] = []


def run_on_processes(
    shards: Iterable[InputShard],
    make_worker: MakeWorker,
    num_workers: int,
    setup: Callable[[], None] | None = None,
) -> Iterator[ShardResult]:
    """Gives the parts to processes of this machine, and yields what became of each.

    A part that fails, or whose process dies, is tried again.

    Args:
        shards: The parts. A process is given the next one when it has made its last.
        make_worker: Makes the worker of a process. It must be picklable.
        num_workers: Number of processes.
        setup: Called first in each process; see `EngineOptions`.

    Yields:
        The results, in the order in which they are made.

    Raises:
        InputError: If the processes die before they make anything.
    """
    work = WorkList(shards)
    # To unpickle the worker imports what it needs, which the setup must precede.
    begin = functools.partial(_begin, setup, pickle.dumps(make_worker))
    deaths = 0
    while first := list(work.take(num_workers)):
        running: dict[Future[ShardResult], InputShard] = {}
        try:
            for shard, result in _run(first, work, begin, num_workers, running):
                deaths = 0
                if result.failure is None or not work.again(shard):
                    yield result
        except BrokenProcessPool:
            deaths += 1
            if deaths == MAX_TRIES:
                raise InputError(
                    f"worker processes died {deaths} times before they made anything; they may be "
                    "out of memory. Give a smaller --num-workers."
                ) from None
            # One of these killed it, and which is not known.
            for shard in running.values():
                if not work.again(shard):
                    yield ShardResult(shard.name, failure=f"its process died {MAX_TRIES} times")


def _run(
    first: Iterable[InputShard],
    work: WorkList,
    begin: Callable[[], None],
    num_workers: int,
    running: dict[Future[ShardResult], InputShard],
) -> Iterator[tuple[InputShard, ShardResult]]:
    """Yields parts and their results until all are made, or a process dies."""
    # Threads and CUDA do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        _one_thread(),
        ProcessPoolExecutor(num_workers, context, begin) as pool,
    ):
        running |= {pool.submit(_work, shard): shard for shard in first}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                yield running.pop(future), result
            for shard in work.take(num_workers - len(running)):
                running[pool.submit(_work, shard)] = shard


def _begin(setup: Callable[[], None] | None, make_worker: bytes) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if setup is not None:
        setup()
    _worker.append(pickle.loads(make_worker)())


def _end_with_parent() -> None:
    """Ends this process when its parent is killed, which nothing else would tell it."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # It is a worker.
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _work(shard: InputShard) -> ShardResult:
    return _worker[0](shard)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Gives one thread to each process that is started, unless the user says otherwise."""
    added = [name for name in _ONE_THREAD if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
