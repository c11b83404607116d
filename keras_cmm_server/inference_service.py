"""From uploaded images to logits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from keras_cmm_runtime.errors import InputError, TooManyPixelsError
from keras_cmm_server.backlog import Backlog
from keras_cmm_server.batcher import Batcher, Logits, Pixels
from keras_cmm_server.request_error import RequestError
from keras_cmm_server.server_metrics import ServerMetrics
from keras_cmm_server.server_settings import ServerSettings

if TYPE_CHECKING:
    from keras_cmm_runtime import OnnxClassifier


@dataclass(frozen=True)
class UploadedImage:
    """An encoded image of a request.

    Args:
        name: How messages and answers call it: the client's file name, or its place.
        data: The file.

    Example:
        >>> str(UploadedImage("cat.jpg", b""))
        'cat.jpg'
    """

    name: str
    data: bytes

    def read_bytes(self) -> bytes:
        """Returns the file, as `read_image` asks for."""
        return self.data

    def __str__(self) -> str:
        return self.name


class InferenceService:
    """Decodes images in threads and runs them through the model in batches.

    Args:
        classifier: The model.
        settings: The limits.
        metrics: Where the work is counted and timed.
    """

    def __init__(
        self, classifier: OnnxClassifier, settings: ServerSettings, metrics: ServerMetrics
    ) -> None:
        self.classifier = classifier
        self.settings = settings
        self.metrics = metrics
        self.backlog = Backlog(settings, metrics)
        self.is_ready = False
        # Pillow frees the interpreter's lock while it decodes.
        self._decoders = ThreadPoolExecutor(os.cpu_count() or 1, "decoder")
        self._batcher = Batcher(
            classifier.predict_pixels, settings.max_batch_size, settings.max_delay, metrics
        )

    async def start(self) -> None:
        """Runs the model once, so that the first request is as quick as the others."""
        # Pillow has one limit for the process.
        Image.MAX_IMAGE_PIXELS = self.settings.max_pixels
        self._batcher.start()
        size = self.classifier.preprocessor.image_size
        await self._batcher.submit(np.zeros((size, size, 3), "uint8"))
        self.is_ready = True

    async def stop(self) -> None:
        """Ends the threads. No request may be in work."""
        self.is_ready = False
        await self._batcher.stop()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    def check_rates(self, reject: float | None, coverage: float | None) -> None:
        """Refuses rates that the model cannot judge images by.

        Raises:
            RequestError: If one is out of range, or the model knows too few held-out images (400).
        """
        try:
            none = np.empty((0, len(self.classifier.class_names)), "float32")
            self.classifier.named(none, reject=reject, coverage=coverage)
        except InputError as error:
            raise RequestError(400, str(error)) from None

    async def classify_images(self, images: Sequence[UploadedImage]) -> Logits:
        """Returns the logits of encoded images, `(images, classes)`.

        Raises:
            RequestError: If an image cannot be read (422) or has too many pixels (413), if there
                are too many images (413, 429), or if it takes too long (504).
        """
        with self.backlog.images(len(images)):
            return await self._in_time([self._classify_image(image) for image in images])

    async def classify_pixels(self, pixels: Pixels) -> Logits:
        """Returns the logits of images of the model's size, `(images, classes)`.

        Args:
            pixels: `(images, size, size, 3)`.

        Raises:
            RequestError: If there are too many images (413, 429), or if it takes too long (504).
        """
        with self.backlog.images(len(pixels)):
            return await self._in_time([self._batcher.submit(each) for each in pixels])

    async def _classify_image(self, image: UploadedImage) -> Logits:
        loop = asyncio.get_running_loop()
        return await self._batcher.submit(
            await loop.run_in_executor(self._decoders, self._pixels, image)
        )

    def _pixels(self, image: UploadedImage) -> Pixels:
        try:
            return self.classifier.preprocessor.pixels(image)
        except TooManyPixelsError:
            raise RequestError(
                413,
                f"{image.name}: has more than {self.settings.max_pixels:,} pixels, the most that "
                "this server takes, or is so narrow that it would have after resizing; make it "
                "smaller.",
            ) from None
        except InputError as error:
            raise RequestError(422, str(error)) from None

    async def _in_time(self, work: list) -> Logits:
        """Gathers the rows of one request. What is left of it is cancelled after an error."""
        try:
            async with asyncio.timeout(self.settings.timeout), asyncio.TaskGroup() as group:
                tasks = [group.create_task(each) for each in work]
        except TimeoutError:
            self.metrics.refused.labels("timeout").inc()
            raise RequestError(
                504,
                f"the answer took longer than {self.settings.timeout:g} s; try again later, or "
                "with fewer images.",
            ) from None
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        return np.stack([task.result() for task in tasks])


def _first(errors: BaseExceptionGroup) -> BaseException:
    """Returns the first error of a request, before those that are the server's own."""
    refused = [each for each in errors.exceptions if isinstance(each, RequestError)]
    return (refused or errors.exceptions)[0]
