"""Embedding the images that a store lacks."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.clip.embedding.embedded_images import EmbeddedImages
from keras_cmm_runtime.embeddings.embedding_space import KEY_TYPE, EmbeddingSpace

# A killed process loses the work of up to so many seconds, and the batches that are not done.
_SECONDS = 5.0


class EmbeddingBuffer:
    """Collects images, embeds those that the store lacks and writes them to it in whole batches.

    Missing images fill batches in their order, and only the last batch may be smaller. A run that
    continues after a killed one therefore forms the same batches as an uninterrupted run, and its
    embeddings have the same bits.

    Args:
        begin: Begins to embed a batch; what it returns gives the embeddings.
        batch_size: Number of images in a batch.
        space: The part of the store.
        in_flight: How many batches may be computed while images of others are added.
    """

    def __init__(
        self,
        begin: Callable[[npt.NDArray[Any]], Callable[[], npt.NDArray[np.float32]]],
        batch_size: int,
        space: EmbeddingSpace,
        in_flight: int = 0,
    ) -> None:
        self._begin = begin
        self._batch_size = batch_size
        self._space = space
        self._in_flight = in_flight
        self._begun: deque[tuple[list[bytes], Callable[[], npt.NDArray[np.float32]]]] = deque()
        # Numbers and keys of all images since the last `take`, in their order.
        self._numbers = array("q")
        self._keys = bytearray()
        self._batch: dict[bytes, npt.NDArray[np.uint8]] = {}
        self._computed: dict[bytes, npt.NDArray[np.float32]] = {}
        self._uncommitted: list[bytes] = []
        self._started = time.monotonic()

    def add(self, number: int, key: bytes, pixels: npt.NDArray[np.uint8] | None) -> bool:
        """Adds an image, and embeds the batch if it is full.

        Args:
            number: The number of the image among all.
            key: The key of the image.
            pixels: The pixels of the image, or `None` if the store has its embedding.

        Returns:
            Whether the store has its embedding.
        """
        self._numbers.append(number)
        self._keys += key
        # It may have been embedded since it was read, by this or another process.
        if pixels is None or key in self._space:
            return True
        if key not in self._batch and key not in self._computed:
            self._batch[key] = pixels
            if len(self._batch) == self._batch_size:
                self.embed_batch()
        return False

    def embed_batch(self) -> None:
        """Begins to embed the batch, full or not."""
        if self._batch:
            keys = list(self._batch)
            self._begun.append((keys, self._begin(np.stack(list(self._batch.values())))))
            # Known, so that no other batch has the same images.
            self._computed.update(dict.fromkeys(keys, np.empty(0, "float32")))
            self._batch.clear()
            self._finish(self._in_flight)

    def _finish(self, left: int = 0) -> None:
        """Waits for batches, until so many are left."""
        while len(self._begun) > left:
            keys, embeddings = self._begun.popleft()
            self._computed.update(zip(keys, embeddings(), strict=True))
            self._uncommitted += keys

    @property
    def is_due(self) -> bool:
        """Whether to call `take` now. Only after a whole batch, so that `take` gets all images."""
        size = self._space.shard_size
        late = len(self._uncommitted) > 0 and time.monotonic() - self._started > _SECONDS
        return not self._batch and (len(self._numbers) >= size or late)

    def commit(self) -> None:
        """Writes the new embeddings to the store."""
        self._finish()
        keys, self._uncommitted = self._uncommitted, []
        self._started = time.monotonic()
        if keys:
            embeddings = np.stack([self._computed[key] for key in keys])
            self._space.append(_as_keys(b"".join(keys)), embeddings)

    def take(self) -> Iterator[EmbeddedImages]:
        """Commits, and yields all images since the last call, up to a shard's worth at a time."""
        self.commit()
        all_keys, numbers = _as_keys(bytes(self._keys)), np.array(self._numbers, dtype="int64")
        for start in range(0, len(numbers), self._space.shard_size):
            part = slice(start, start + self._space.shard_size)
            keys = all_keys[part]
            rows = self._space.find(keys)
            stored = rows >= 0
            embeddings = np.empty((len(keys), self._space.dim), dtype="float32")
            embeddings[stored] = self._space.read(keys[stored], rows[stored])
            # Embeddings that a read-only store did not take.
            for place in np.flatnonzero(~stored).tolist():
                key = keys[place : place + 1].tobytes()
                if key not in self._computed:
                    raise self._space.emptied()
                embeddings[place] = self._computed[key]
            yield EmbeddedImages(embeddings, numbers[part])
        del self._numbers[:]
        self._keys.clear()
        self._computed.clear()


def _as_keys(keys: bytes) -> npt.NDArray[np.bytes_]:
    return np.frombuffer(keys, KEY_TYPE)
