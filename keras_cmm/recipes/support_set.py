"""A support set that can be trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.recipes.head import Head
from keras_cmm.utils.embedding_rows import LARGEST, as_numbers, find_bad_row
from keras_cmm.utils.labels import checked_ids, labels_as_array
from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm_runtime.errors import InputError


def checked_support(head: Head, x: Any, y: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    """Returns image embeddings, in the precision that they have, and class ids as arrays.

    Args:
        head: a built classifier.
        x: array-like or tensor of shape `(images, dim + also_dim)`.
        y: array-like or tensor: class ids of shape `(images,)`, or one-hot labels.

    Raises:
        InputError: if they do not fit one another or the head.
    """
    if not head.built:
        raise InputError(
            "`head` must have class texts: use `CMMClassifier.from_text_embeddings` or "
            "`assign_text_embeddings`. Received: an unbuilt head"
        )
    embeddings = checked_embeddings(x, "x", head.text_embeddings.shape[1] + head.also_dim)
    if not len(embeddings):
        raise InputError(
            "`x` must hold embeddings of one image or more. "
            f"Received: an array of shape {embeddings.shape}"
        )
    if head.also_dim and not isinstance(embeddings, LazyRows):
        also = embeddings[:, -head.also_dim :]
        checked_embeddings(also, "the second encoder's part of `x`", head.also_dim)
    ids = checked_labels(y, head.num_classes, len(embeddings))
    if embeddings.dtype.kind != "f":
        embeddings = embeddings.astype("float32")
    return embeddings, ids


def checked_embeddings(x: Any, name: str, dim: int | None, largest: float = LARGEST) -> Any:
    """Returns embeddings as an array, in the precision that they have.

    Args:
        x: array-like or tensor of shape `(rows, dim)`. `LazyRows` are returned as they are.
        name: str. What the message of an error calls it.
        dim: int or `None`. The width, `None` where any will do.
        largest: float. The length of a row must be smaller.

    Raises:
        InputError: if they are something else, or a row has no direction.
    """
    array = x if isinstance(x, LazyRows) else as_numbers(x, name)
    if len(array.shape) != 2 or not array.shape[1] or dim not in (None, array.shape[1]):
        width = "dim)" if dim is None else f"{dim}), as wide as the text embeddings"
        raise InputError(
            f"`{name}` must hold embeddings of shape (rows, {width}. "
            f"Received: an array of shape {array.shape}"
        )
    bad = find_bad_row(LazyRows.of(array), largest)
    if bad is not None:
        raise InputError(
            f"`{name}` must hold embeddings that have a direction: leave the row out or embed it "
            f"again. Received: row {bad.row} has {bad.reason}"
        )
    return array


def checked_labels(y: Any, num_classes: int, rows: int) -> npt.NDArray[np.int64]:
    """Returns the labels of embeddings as class ids.

    Args:
        y: class ids, `(rows,)` or `(rows, 1)`, or one-hot labels, `(rows, num_classes)`.
        num_classes: int.
        rows: int. How many there must be.

    Raises:
        InputError: if they are something else.
    """
    if y is None:
        raise InputError("`y` must hold the labels of the embeddings. Received: None")
    array = labels_as_array(y)
    if array.dtype.kind in "UO":
        raise InputError(
            "`y` must hold class ids, because a head knows no class names: give "
            "`[class_names.index(label) for label in y]`, with the names in the order of the text "
            f"embeddings. Received: {array.ravel()[:1].tolist()}"
        )
    if len(array) != rows:
        raise InputError(
            f"`y` must hold one label for each of the {rows} rows of `x`. "
            f"Received: {len(array)} labels"
        )
    return checked_ids(array, num_classes)


def checked_sample_weight(
    sample_weight: Any, samples: int, allow_zeros: bool = False
) -> npt.NDArray[Any] | None:
    """Returns sample weights as an array of shape `(samples,)`, or `None` for none.

    Args:
        sample_weight: array-like or tensor of shape `(samples,)`, or `None`.
        samples: int. How many there must be.
        allow_zeros: bool. All may be 0, as in a batch of many.

    Raises:
        InputError: if they are not one finite number >= 0 per sample, or are all 0.
    """
    if sample_weight is None:
        return None
    weights = as_numbers(sample_weight, "sample_weight")
    if weights.shape != (samples,) or not (allow_zeros or weights.any()):
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
