"""Test images that are copies of training images."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm.clip.embedding.image_keys import identify
from keras_cmm.evaluation.picture_signature import PictureSignature
from keras_cmm_runtime.errors import InputError

# Copies of a picture have nearly the same embedding. Only such pairs are looked at.
_MIN_COSINE = 0.95
_CHUNK = 1024


class Copies(NamedTuple):
    """Test images that are in the training set.

    Attributes:
        exact: Numbers of the test images whose file or pixels are those of a training image.
        near: Pairs of a test image and a training image that look alike: the same picture in
            another size or format, for instance.
    """

    exact: list[int]
    near: list[tuple[int, int]]


def find_copies(
    images: Collection[Any],
    embeddings: npt.NDArray[np.floating],
    train_images: Collection[Any],
    train_embeddings: npt.NDArray[np.floating],
) -> Copies:
    """Finds the test images that are copies of training images, of whatever class.

    Files are compared byte by byte. Of the pictures whose embeddings are nearly the same, pixels
    and difference hashes are compared.

    Args:
        images: The test images, each what `keras_cmm.clip.read_image` takes.
        embeddings: Their embeddings, `(images, dim)`, rows of unit length.
        train_images: The training images.
        train_embeddings: Their embeddings, `(train_images, dim)`, rows of unit length.

    Returns:
        The copies. An image that cannot be read any more is none.

    Example:
        >>> import numpy as np
        >>> ant, bee = np.zeros((9, 9, 3), "uint8"), np.full((9, 9, 3), 255, "uint8")
        >>> find_copies([ant, bee], np.eye(2), [bee], np.eye(2)[1:])
        Copies(exact=[1], near=[])
    """
    if not len(images) or not len(train_images):
        return Copies([], [])
    with ThreadPoolExecutor() as pool:
        known = set(pool.map(_key, train_images)) - {None}
        exact = {row for row, key in enumerate(pool.map(_key, images)) if key in known}
        pairs = [
            pair for pair in _nearest_pairs(embeddings, train_embeddings) if pair[0] not in exact
        ]
        seen = pool.map(
            _likeness,
            _chosen(images, [row for row, _ in pairs]),
            _chosen(train_images, [row for _, row in pairs]),
        )
        near = []
        for pair, found in zip(pairs, seen, strict=True):
            if found == "same":
                exact.add(pair[0])
            elif found == "near":
                near.append(pair)
    return Copies(sorted(exact), near)


def _key(image: Any) -> bytes | None:
    try:
        return identify(image)[0]
    except InputError:
        return None


def _chosen(images: Collection[Any], rows: list[int]) -> list[Any]:
    """Returns some of the images. Those of a data set can only be read in turn."""
    wanted = set(rows)
    found = {row: image for row, image in enumerate(images) if row in wanted}
    return [found[row] for row in rows]


def _nearest_pairs(
    embeddings: npt.NDArray[np.floating], train_embeddings: npt.NDArray[np.floating]
) -> Iterator[tuple[int, int]]:
    """Yields each test row that is close to a training row, and the closest one."""
    train = np.asarray(train_embeddings, dtype="float32").T
    for start in range(0, len(embeddings), _CHUNK):
        cosines = np.asarray(embeddings[start : start + _CHUNK], dtype="float32") @ train
        nearest = cosines.argmax(axis=1)
        for row in np.flatnonzero(cosines.max(axis=1) >= _MIN_COSINE).tolist():
            yield start + row, int(nearest[row])


def _likeness(image: Any, other: Any) -> str:
    one, two = PictureSignature.of(image), PictureSignature.of(other)
    return "other" if one is None or two is None else one.likeness(two)
