"""Gathering single images into batches."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_cmm_server.request_error import RequestError
from keras_cmm_server.server_metrics import ServerMetrics

Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Waiting:
    pixels: Pixels
    answer: asyncio.Future[Logits]
    since: float


class Batcher:
    """Runs images of several requests through the model together.

    A batch begins when it is full, or when its first image has waited for `max_delay` and the batch
    before is done. Images come first that arrived first.

    Args:
        predict: Maps pixels `(batch, size, size, 3)` to logits `(batch, classes)`. It is called in
            a thread, one call at a time.
        max_batch_size: The most images of a batch.
        max_delay: Seconds.
        metrics: Where batches are counted and timed.

    Example:
        >>> async def main():
        ...     batcher = Batcher(lambda pixels: pixels.mean((1, 2)), 16, 0.0, ServerMetrics())
        ...     batcher.start()
        ...     answer = await batcher.submit(np.ones((4, 4, 3), "uint8"))
        ...     await batcher.stop()
        ...     return answer.tolist()
        >>> asyncio.run(main())
        [1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        predict: Callable[[Pixels], Logits],
        max_batch_size: int,
        max_delay: float,
        metrics: ServerMetrics,
    ) -> None:
        self._predict = predict
        self._max_batch_size = max_batch_size
        self._max_delay = max_delay
        self._metrics = metrics
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to run batches. It must be called in the event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends after the batch that runs. Images that still wait get an error."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)
        for entry in self._waiting:
            _fail(entry, RequestError(503, "the server stops."))
        self._waiting.clear()

    async def submit(self, pixels: Pixels) -> Logits:
        """Returns the logits `(classes,)` of one image, once its batch has run.

        Args:
            pixels: `(size, size, 3)`.

        Raises:
            RequestError: If the server stops before.
        """
        if self._task is None or self._task.done():
            raise RequestError(503, "the server is not running.", retry_after=1)
        loop = asyncio.get_running_loop()
        entry = _Waiting(pixels, loop.create_future(), time.perf_counter())
        self._waiting.append(entry)
        self._arrived.set()
        return await entry.answer

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._until_full_or_late()
            batch = self._take()
            if not batch:
                continue
            pixels = np.stack([entry.pixels for entry in batch])
            start = time.perf_counter()
            try:
                logits = await loop.run_in_executor(self._thread, self._predict, pixels)
            except asyncio.CancelledError:
                for entry in batch:
                    _fail(entry, RequestError(503, "the server stops."))
                raise
            # Whatever the model raises belongs to the requests of this batch, not to the server.
            except Exception as error:
                for entry in batch:
                    _fail(entry, error)
                continue
            self._metrics.batch_seconds.observe(time.perf_counter() - start)
            self._metrics.batch_images.observe(len(batch))
            self._metrics.images.inc(len(batch))
            for entry, row in zip(batch, logits, strict=True):
                self._metrics.wait_seconds.observe(start - entry.since)
                if not entry.answer.done():
                    entry.answer.set_result(row)

    async def _until_full_or_late(self) -> None:
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        late = self._waiting[0].since + self._max_delay
        while len(self._waiting) < self._max_batch_size:
            left = late - time.perf_counter()
            if left <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return

    def _take(self) -> list[_Waiting]:
        """Takes a batch, without images whose requests were given up."""
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._max_batch_size:
            entry = self._waiting.popleft()
            if not entry.answer.done():
                batch.append(entry)
        return batch


def _fail(entry: _Waiting, error: Exception) -> None:
    if not entry.answer.done():
        entry.answer.set_exception(error)
