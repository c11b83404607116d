"""A support set that can be trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.errors import InputError
from keras_cmm.recipes.head import Head


def checked_support(
    head: Head, x: Any, y: Any
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Returns image embeddings and class ids as arrays.

    Args:
        head: a built classifier.
        x: array-like or tensor of shape `(images, dim)`.
        y: array-like or tensor of class ids, shape `(images,)`.

    Raises:
        InputError: if they do not fit one another or the head.
    """
    if not head.built:
        raise InputError(
            "`head` must have class texts: use `CMMClassifier.from_text_embeddings` or "
            "`assign_text_embeddings`. Received: an unbuilt head"
        )
    embeddings = np.asarray(ops.convert_to_numpy(x), dtype="float32")
    ids = np.asarray(ops.convert_to_numpy(y))
    dim = head.text_embeddings.shape[1]
    if embeddings.ndim != 2 or embeddings.shape[1] != dim or not len(embeddings):
        raise InputError(
            f"`x` must hold embeddings of shape (images, {dim}), of one image or more. "
            f"Received: an array of shape {embeddings.shape}"
        )
    if not np.isfinite(embeddings).all():
        row = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))[0]
        raise InputError(f"`x` must hold finite numbers. Received: row {row} does not")
    if ids.shape != (len(embeddings),) or ids.dtype.kind not in "iu":
        raise InputError(
            f"`y` must hold class ids, integers of shape ({len(embeddings)},). "
            f"Received: {ids.dtype} of shape {ids.shape}"
        )
    if ids.min() < 0 or ids.max() >= head.num_classes:
        raise InputError(
            f"`y` must hold class ids from 0 to {head.num_classes - 1}. "
            f"Received: from {ids.min()} to {ids.max()}"
        )
    return embeddings, ids.astype("int64")


def checked_sample_weight(sample_weight: Any, samples: int) -> npt.NDArray[Any] | None:
    """Returns sample weights as an array of shape `(samples,)`, or `None` for none.

    Args:
        sample_weight: array-like or tensor of shape `(samples,)`, or `None`.
        samples: int. How many there must be.

    Raises:
        InputError: if they are not one finite number >= 0 per sample, or are all 0.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(ops.convert_to_numpy(sample_weight))
    if weights.shape != (samples,) or not weights.any():
        raise InputError(
            f"`sample_weight` must be one weight for each of the {samples} samples, not all 0. "
            f"Received: shape {weights.shape}, {np.count_nonzero(weights)} not 0"
        )
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise InputError(
            "`sample_weight` must hold finite numbers >= 0. "
            f"Received: from {weights.min()} to {weights.max()}"
        )
    return weights
