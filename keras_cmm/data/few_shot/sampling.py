"""Few-shot sampling that depends on the seed and the rows alone."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from keras_cmm.data.few_shot.few_shot_sample import (
    FewShotSample,
    checked_rows,
    fingerprint,
    key_bytes,
    short_classes,
)
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import listed, warn


def sample_few_shot(
    labels: npt.ArrayLike,
    shots: int | Literal["all"],
    *,
    seed: int,
    keys: Sequence[bytes | str],
    exclude: npt.ArrayLike | None = None,
) -> FewShotSample:
    """Draws `shots` rows of each class.

    The rows of a class are ranked by the SHA-256 of seed and key, and the first rows are taken. So
    the draw is the same for any order of the rows, on any platform and with any version of numpy. A
    draw of fewer shots is a subset of a draw of more. Rows with the same key are ranked by number.

    A name is replaced by its digest (`key_digests`), as in an embeddings file. So images and a file
    of their embeddings give the same draw.

    Args:
        labels: `(rows,)` class ids. Ids without any row are allowed.
        shots: Rows to draw of each class, 1 or more, or "all".
        seed: Any integer.
        keys: One identity a row: names as text, such as `ImageList.keys()`, or digests as bytes,
            such as `EmbeddingSet.keys("train")` or `row_keys(embeddings)`.
        exclude: `(excluded,)` row numbers that must not be drawn, or `None`.

    Returns:
        The sample. If a class has fewer rows than `shots`, all its rows are taken. A warning names
        such classes, and `short` holds them.

    Raises:
        InputError: If an argument cannot be used.

    Example:
        >>> sample = sample_few_shot([1, 0, 1, 0], 1, seed=1, keys=["a", "b", "c", "d"])
        >>> sample.indices.tolist()
        [1, 0]
    """
    rows, identities = checked_rows(labels, keys)
    if shots != "all" and (not _is_integer(shots) or shots < 1):
        raise InputError(f'`shots` must be an integer >= 1 or "all". Received: {shots=}')
    if not _is_integer(seed):
        raise InputError(f"`seed` must be an integer. Received: {seed=}")
    available = np.ones(len(rows), dtype=bool)
    if exclude is not None:
        available[_excluded(exclude, len(rows))] = False

    classes = rows.tolist()
    prefix = f"{seed}:".encode()
    digests = [
        _digest(identity) if isinstance(key, str) else identity
        for key, identity in zip(keys, identities, strict=True)
    ]
    ranked = sorted(
        (classes[row], hashlib.sha256(prefix + digests[row]).digest(), row)
        for row in np.flatnonzero(available).tolist()
    )
    limit = len(rows) if shots == "all" else shots
    taken: Counter[int] = Counter()
    indices = []
    for label, _, row in ranked:
        if taken[label] < limit:
            taken[label] += 1
            indices.append(row)

    chosen = np.array(indices, dtype=np.int64)
    short = short_classes(rows, chosen, shots)
    if short:
        names = [f"class {label} ({count})" for label, count in short.items()]
        warn(
            f"{len(short)} of {len(set(classes))} classes have fewer than {shots} rows, so all of "
            f"theirs are taken: {listed(names, 10, str)}."
        )
    return FewShotSample(
        indices=chosen,
        shots="all" if shots == "all" else int(shots),
        seed=int(seed),
        short=short,
        num_rows=len(rows),
        fingerprint=fingerprint(rows, identities),
    )


def row_keys(embeddings: npt.NDArray[np.floating]) -> list[bytes]:
    """Returns identities of embedding rows, for data without file names.

    A key is the SHA-256 of the row as little-endian float32, the same for a float16 row and its
    float32 copy. Another machine embeds the same image with other last bits, which gives another
    key. For images with names, use `key_digests`.

    Args:
        embeddings: `(rows, dim)` floats.

    Returns:
        One 32-byte key for each row; equal rows have equal keys.

    Raises:
        InputError: If `embeddings` is not `(rows, dim)`.

    Example:
        >>> import numpy as np
        >>> half = np.eye(2, dtype="float16")
        >>> row_keys(half) == row_keys(half.astype("float32"))
        True
    """
    if np.ndim(embeddings) != 2:
        raise InputError(
            f"`embeddings` must have shape (rows, dim). Received: shape {np.shape(embeddings)}"
        )
    # asarray: iterating over a plain array is several times faster than over a memmap.
    rows = np.asarray(embeddings)
    return [hashlib.sha256(row.astype("<f4").tobytes()).digest() for row in rows]


def key_digests(keys: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Returns identities of images as an array, for `EmbeddingSet`.

    Args:
        keys: The name of each image, such as `ImageList.keys()`.

    Returns:
        `(images, 32)`, the SHA-256 of each.

    Example:
        >>> key_digests(["ant/1.jpg", "bee/1.jpg"]).shape
        (2, 32)
    """
    digests = b"".join(_digest(key_bytes(key)) for key in keys)
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)


def _digest(name: bytes) -> bytes:
    return hashlib.sha256(name).digest()


def _excluded(exclude: npt.ArrayLike, num_rows: int) -> npt.NDArray[np.int64]:
    rows = np.asarray(exclude)
    if rows.size == 0:
        return np.empty(0, dtype=np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= num_rows:
        raise InputError(
            f"`exclude` must be row numbers from 0 to {num_rows - 1}. Received: {exclude!r:.60}"
        )
    return rows.astype(np.int64)


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
