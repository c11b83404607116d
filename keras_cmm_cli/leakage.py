"""Test images that the classifier was trained on."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm.data import ImageSource


def rows_without_copies(
    embeddings: npt.NDArray[np.floating],
    images: ImageSource,
    train_embeddings: npt.NDArray[np.floating],
    train_images: ImageSource,
    split: str = "test",
) -> list[int]:
    """Returns the rows of test images that are no copies of training images, and warns of others.

    Copies are left out. Images that look like a training image are kept, with a warning.

    Args:
        embeddings: Embeddings of the test images, `(images, dim)`.
        images: The test images.
        train_embeddings: Embeddings of the training images, `(images, dim)`.
        train_images: The training images.
        split: Name of the test images in messages.
    """
    from keras_cmm.evaluation import find_copies

    copies = find_copies(images.images, embeddings, train_images.images, train_embeddings)
    names, train_names = images.keys(), train_images.keys()
    if copies.exact:
        number = len(copies.exact)
        warnings.warn(
            f"left out {number:,} of the {len(images):,} {split} images, which "
            f"{'is a copy' if number == 1 else 'are copies'} of training images, such as "
            f"{names[copies.exact[0]]}.",
            stacklevel=2,
        )
    if copies.near:
        number, (row, train_row) = len(copies.near), copies.near[0]
        warnings.warn(
            f"{number:,} of the {len(images):,} {split} images {'looks' if number == 1 else 'look'}"
            f" like training images, such as {names[row]} and {train_names[train_row]}. They are "
            "kept; if they are the same pictures, the accuracy is too high.",
            stacklevel=2,
        )
    left_out = set(copies.exact)
    return [row for row in range(len(images)) if row not in left_out]
