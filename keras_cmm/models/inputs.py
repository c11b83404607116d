"""From what users pass to `fit` and `predict` to single images and labels."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_cmm.utils.labels import rows_of
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.image_reading import is_one_image
from keras_cmm_runtime.sources import pairs_of_dataset
from keras_cmm_runtime.utils.items import items


def iterate_images(x: Any, y: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yields `(image, label)` pairs, the label None where there is none.

    Args:
        x: one of: a sequence of paths, PIL images or arrays, of one size or of many; an array or
            tensor `(images, height, width, channels)`; a `tf.data.Dataset`, torch `DataLoader`,
            `keras.utils.PyDataset` or any other iterable of batches, each `images` or
            `(images, labels)`; one may also yield single images, with class ids or none. A
            `datasets.Dataset` of Hugging Face yields class names.
        y: labels, one an image, where `x` does not bring its own.

    Raises:
        InputError: If labels are given twice or their number is not that of the images.
    """
    if isinstance(x, Mapping):
        raise InputError(
            "`x` must be images, or a data set that yields images or (images, labels). "
            f"Received: a dict with the keys {', '.join(map(str, x))}"
        )
    if not is_dataset(x):
        yield from _paired(x, y)
        return
    if is_hugging_face(x) and y is None:
        yield from pairs_of_dataset(x)
        return
    if y is not None:
        raise InputError("`y` must be left out where `x` is a data set that yields its own labels.")
    for element in _elements(x):
        images, labels = _split(element)
        pairs = [(images, labels)] if _is_one_image(images) else _paired(images, labels)
        yield from ((_file_or_image(image), label) for image, label in pairs)


def is_dataset(x: Any) -> bool:
    """Whether `x` yields batches, rather than being a sequence or an array of images."""
    is_images = isinstance(x, Sequence | os.PathLike | Image.Image) or hasattr(x, "shape")
    return is_hugging_face(x) or not is_images


def is_hugging_face(x: Any) -> bool:
    """Whether `x` is a `datasets.Dataset`, which names the classes of its labels."""
    datasets = sys.modules.get("datasets")
    return datasets is not None and isinstance(x, datasets.Dataset)


def is_one_picture(x: Any) -> bool:
    """Whether `x` is surely a single image: a file, a PIL image or an array `(..., channels)`.

    Another array of three axes may be a batch of grey images, and one of two axes embeddings.
    """
    shape = tuple(getattr(x, "shape", ()))
    return is_one_image(x) and (not shape or (len(shape) == 3 and shape[-1] in (1, 3, 4)))


def _paired(images: Any, labels: Any) -> Iterator[tuple[Any, Any]]:
    if _is_one_image(images):
        shape = getattr(images, "shape", ())
        raise InputError(
            "images must be given as a list or a batch. Received: a single image"
            + (
                f" of shape {tuple(shape)}; a batch of grey ones needs a channel axis, as by "
                "`x[..., None]`"
                if len(shape) == 3
                else ""
            )
        )
    images = images if isinstance(images, Sequence) else _to_numpy_batch(images)
    if labels is None:
        yield from ((image, None) for image in images)
        return
    if len(images) != len(labels):
        raise InputError(
            f"there must be one label for each image. Received: {len(images)} images and "
            f"{len(labels)} labels"
        )
    yield from zip(images, rows_of(labels), strict=True)


def _elements(dataset: Iterable[Any]) -> Iterator[Any]:
    cardinality = getattr(dataset, "cardinality", None)
    if callable(cardinality) and int(cardinality()) == -1:
        raise InputError("the data set never ends; leave out `.repeat()`: `fit` repeats by itself.")
    if hasattr(dataset, "as_numpy_iterator"):
        yield from dataset.as_numpy_iterator()
    elif hasattr(dataset, "num_batches") and hasattr(dataset, "__getitem__"):  # a PyDataset
        if dataset.num_batches is None:
            raise InputError("the data set never ends; give it a `num_batches`.")
        for index in range(dataset.num_batches):
            yield dataset[index]
    else:
        yield from items(dataset)


def _split(element: Any) -> tuple[Any, Any]:
    if isinstance(element, Mapping):
        raise InputError(
            "a data set must yield images or (images, labels). "
            f"Received: a dict with the keys {', '.join(map(str, element))}; map it to a tuple."
        )
    if not isinstance(element, tuple | list):
        return element, None
    # A batch may well be of two. A label never is a picture; a class name looks as a path does.
    for is_image in (_is_path, _is_picture):
        if all(is_image(part) for part in element):
            return element, None
    if len(element) > 2:
        raise InputError(
            "a data set must yield images or (images, labels). "
            f"Received: a tuple of {len(element)}; give sample weights as `sample_weight`."
        )
    return (element[0], None) if len(element) == 1 else (element[0], element[1])


def _is_path(part: Any) -> bool:
    return isinstance(part, str | os.PathLike)


def _is_picture(part: Any) -> bool:
    return isinstance(part, Image.Image) or len(getattr(part, "shape", ())) == 3


def _is_one_image(images: Any) -> bool:
    # An element of a data set that holds an encoded image is a scalar.
    is_scalar = hasattr(images, "shape") and not len(images.shape)
    return is_scalar or is_one_image(images)


def _file_or_image(image: Any) -> Any:
    # TensorFlow's texts are bytes: the name of a file, or what is in one.
    if isinstance(image, bytes) and os.path.isfile(image):  # noqa: PTH113, Path's raises if long
        return os.fsdecode(image)
    return image


def _to_numpy_batch(images: Any) -> Any:
    # Torch tensors stay: the order of their axes and the range of their values differ.
    return images if hasattr(images, "detach") else np.asarray(images)
