"""Workers on a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale.decoded_rows import DecodedRows, decode_rows
from keras_cmm_runtime.scale.input_shard import InputShard
from keras_cmm_runtime.scale.read_shard import read_shard
from keras_cmm_runtime.scale.shard_result import ShardResult
from keras_cmm_runtime.scale.shard_worker import MakeWorker
from keras_cmm_runtime.scale.work_list import MAX_TRIES

if TYPE_CHECKING:
    from keras_cmm_runtime.images import ImagePreprocessor
    from keras_cmm_runtime.scale.engine_options import EngineOptions
    from keras_cmm_runtime.scale.shard_model import ShardModel

# Parts are small and their work is long, so each is a block of its own, which Ray gives to the next
# free worker.
_BLOCK_BYTES = 1
# Decoded batches that wait for a worker.
_BATCHES_AHEAD = 4
_GPU_DECODERS = 4


def run_on_ray(
    shards: Callable[[], Iterable[InputShard]], make_worker: MakeWorker, options: EngineOptions
) -> Iterator[ShardResult]:
    """Gives the parts to workers on a Ray cluster, by Ray Data, and yields what became of each.

    Ray lists the parts, gives them out, and tries those again whose worker or node dies. A part
    that fails is tried again when all others are done.

    Args:
        shards: Lists the parts, on a node of the cluster. It must be picklable.
        make_worker: Makes a worker. It must be picklable.
        options: What runs the workers.

    Yields:
        The results, in the order in which they are made.

    Raises:
        InputError: If Ray is not installed, the cluster cannot be reached or lacks the GPUs, or a
            worker cannot be made.
    """
    ray = _imported()
    with _cluster(ray, options.address):
        workers = _number_of_workers(ray, options)
        failed: dict[str, ShardResult] = {}
        done: set[str] = set()
        for _ in range(MAX_TRIES):
            for result in _run(ray, shards, make_worker, options, workers):
                if result.failure is not None:
                    failed[result.name] = result
                elif result.name not in done:
                    done.add(result.name)
                    failed.pop(result.name, None)
                    yield result
            # Parts whose workers died too often have no result at all.
            lost = {shard.name for shard in shards()} - done
            if not lost:
                return
        for name in sorted(lost):
            yield failed.get(name) or ShardResult(
                name, failure=f"its worker died {MAX_TRIES} times"
            )


def _run(
    ray: Any,
    shards: Callable[[], Iterable[InputShard]],
    make_worker: MakeWorker,
    options: EngineOptions,
    workers: int,
) -> Iterator[ShardResult]:
    decoders = options.decoders
    if decoders is None:
        decoders = _GPU_DECODERS if options.gpus_per_worker else 0
    # Ray's own pickle takes functions of notebooks too.
    begin = (options.setup, ray.cloudpickle.dumps(make_worker), decoders)
    listed = ray.data.from_items([{"part": 0}]).flat_map(
        _Listing(ray.cloudpickle.dumps(shards)), num_cpus=0
    )
    results = listed.map_batches(
        _RayWorker,
        fn_constructor_args=begin,
        # As many parts at a time as there are decoders, each of which reads one.
        batch_size=max(1, decoders),
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=workers),
        # Decoders take the cores that their worker does not use.
        num_cpus=0 if decoders else 1,
        num_gpus=options.gpus_per_worker,
        max_restarts=-1,
        max_task_retries=MAX_TRIES - 1,
    )
    for row in results.iter_rows():
        result: ShardResult = pickle.loads(row["result"])
        if result.name == _NO_WORKER:  # The workers cannot be made.
            raise InputError(str(result.failure))
        yield result


_NO_WORKER = ""


class _Listing:
    """Lists the parts on a node of the cluster, while they are being made."""

    def __init__(self, shards: bytes) -> None:
        self._shards = shards

    def __call__(self, _: dict[str, Any]) -> Iterator[dict[str, bytes]]:
        for shard in pickle.loads(self._shards)():
            yield {"part": pickle.dumps(shard)}


class _RayWorker:
    """A worker in an actor of Ray Data."""

    def __init__(self, setup: Callable[[], None] | None, make_worker: bytes, decoders: int) -> None:
        self._decoders = decoders
        if setup is not None:
            setup()
        self._worker = pickle.loads(make_worker)()
        if decoders:
            make_model = self._worker.make_model
            self._worker.make_model = lambda: _OneAtATime(make_model())

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        shards = [pickle.loads(part) for part in batch["part"]]
        try:
            with ThreadPoolExecutor(max(1, self._decoders)) as pool:
                results = list(pool.map(self._work, shards))
        except InputError as error:
            # Ray would try it again and again.
            results = [ShardResult(_NO_WORKER, failure=str(error))]
        return {"result": [pickle.dumps(result) for result in results]}

    def _work(self, shard: InputShard) -> ShardResult:
        return self._worker(shard, _decoded_elsewhere if self._decoders else None)


class _OneAtATime:
    """A `ShardModel` that several threads share."""

    def __init__(self, model: Any) -> None:
        self.preprocessor = model.preprocessor
        self.batch_size = model.batch_size
        self._model = model
        self._lock = threading.Lock()

    def columns(self, *args: Any) -> Any:
        with self._lock:
            return self._model.columns(*args)


def _decoded_elsewhere(shard: InputShard, model: ShardModel) -> Iterator[DecodedRows]:
    """Yields the batches of a part that a task of Ray decodes, on whatever node has a core."""
    import ray

    decode = ray.remote(_decode).options(
        num_cpus=1,
        num_returns="streaming",
        max_retries=MAX_TRIES,
        _generator_backpressure_num_objects=_BATCHES_AHEAD,
    )
    try:
        for reference in decode.remote(shard, model.preprocessor, model.batch_size):
            yield ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, InputError | OSError) else error from None
    except ray.exceptions.RayError as error:
        raise OSError(f"its decoder was lost ({type(error).__name__})") from error


def _decode(
    shard: InputShard, preprocessor: ImagePreprocessor, batch_size: int
) -> Iterator[DecodedRows]:
    yield from decode_rows(read_shard(shard), preprocessor, batch_size)


def _imported() -> Any:
    # Ray would tell its makers of each use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What its C++ parts say is for its developers.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("`engine` 'ray' needs Ray; run `pip install 'keras-cmm[ray]'`.") from error
    return ray


@contextlib.contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    """Connects to a cluster, and sets Ray Data up for parts."""
    is_ours = not ray.is_initialized()
    if is_ours:
        _check_address(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises no other for a node that takes too long.
            reason = " ".join(str(error).split())
            if address is None:
                raise InputError(f"Ray cannot be started on this machine ({reason}).") from error
            raise InputError(
                f"the Ray cluster {address!r} cannot be reached ({reason}); start it with "
                "`ray start --head`, or leave the address out. A cluster that asks for a token "
                "needs RAY_AUTH_MODE=token and the ~/.ray/auth_token of its head."
            ) from error
    context = ray.data.DataContext.get_current()
    kept = {name: getattr(context, name) for name in _SETTINGS}
    for name, value in _SETTINGS.items():
        setattr(context, name, value)
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in kept.items():
            setattr(context, name, value)
        if is_ours:
            ray.shutdown()


def _check_address(address: str | None) -> None:
    """Raises an error for an address that nobody answers at. Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"the Ray cluster {address!r} cannot be reached ({error}); start it with "
            "`ray start --head`, or leave the address out."
        ) from error


_SETTINGS: dict[str, Any] = {
    "target_max_block_size": _BLOCK_BYTES,
    # Parts that have no result are found by their names.
    "max_errored_blocks": -1,
    "enable_progress_bars": False,
}


def _number_of_workers(ray: Any, options: EngineOptions) -> int:
    there = ray.cluster_resources()
    gpus = options.gpus_per_worker
    most = int(there.get("GPU", 0) / gpus) if gpus else int(there.get("CPU", 1))
    if gpus and not most:
        raise InputError(
            f"the cluster has {there.get('GPU', 0):g} GPUs, and a worker needs {gpus:g}; give "
            "`gpus_per_worker=0` for CPUs."
        )
    return options.num_workers or max(1, most)
