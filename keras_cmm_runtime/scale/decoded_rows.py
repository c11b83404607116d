"""Images of a part, decoded and in batches."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImagePreprocessor
from keras_cmm_runtime.scale.stored_row import StoredRow


@dataclass(frozen=True, slots=True)
class DecodedRows:
    """Some images of a part, in their order.

    Args:
        rows: The images, without their data.
        digests: For each the SHA-256 of its file, or `None` where there is no data.
        pixels: `(images without an error, image_size, image_size, 3)` of those that can be read.
    """

    rows: list[StoredRow]
    digests: list[bytes | None]
    pixels: npt.NDArray[np.uint8]


def decode_rows(
    rows: Iterable[StoredRow], preprocessor: ImagePreprocessor, batch_size: int, threads: int = 0
) -> Iterator[DecodedRows]:
    """Decodes images.

    Args:
        rows: The images.
        preprocessor: What resizes and crops them.
        batch_size: How many readable images a batch has. What else there is between them comes
            with them.
        threads: How many threads decode ahead, or 0 to decode when a batch is asked for.

    Yields:
        The batches. The last one may be smaller.
    """
    size = preprocessor.image_size
    gathered: list[_Decoded] = []
    readable = 0
    for decoded in _decoded(rows, preprocessor, threads, ahead=2 * batch_size):
        gathered.append(decoded)
        readable += decoded[2] is not None
        if readable == batch_size:
            yield _batch(gathered, size)
            gathered, readable = [], 0
    if gathered:
        yield _batch(gathered, size)


def no_rows(preprocessor: ImagePreprocessor) -> DecodedRows:
    """Returns the batch of a part without images."""
    return _batch([], preprocessor.image_size)


_Decoded = tuple[StoredRow, bytes | None, npt.NDArray[np.uint8] | None]


def _decoded(
    rows: Iterable[StoredRow], preprocessor: ImagePreprocessor, threads: int, ahead: int
) -> Iterator[_Decoded]:
    if not threads:
        yield from (_decode(row, preprocessor) for row in rows)
        return
    waiting: deque[Future[_Decoded]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for row in rows:
            waiting.append(pool.submit(_decode, row, preprocessor))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(row: StoredRow, preprocessor: ImagePreprocessor) -> _Decoded:
    if row.data is None:
        return row, None, None
    digest = hashlib.sha256(row.data).digest()
    try:
        pixels, error = preprocessor.pixels(row.data), None
    except InputError as problem:
        pixels, error = None, str(problem).removeprefix("bytes: ").rstrip(".")
    return StoredRow(row.id, row.label, row.split, None, error), digest, pixels


def _batch(decoded: list[_Decoded], size: int) -> DecodedRows:
    pixels = [each for _, _, each in decoded if each is not None]
    empty = np.empty((0, size, size, 3), "uint8")
    return DecodedRows(
        [row for row, _, _ in decoded],
        [digest for _, digest, _ in decoded],
        np.stack(pixels) if pixels else empty,
    )
