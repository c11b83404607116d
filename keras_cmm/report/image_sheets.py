"""Several images of a source in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from keras_cmm.clip import read_image
from keras_cmm.data import ImageSource
from keras_cmm_runtime.errors import InputError

_TILE = 112
_LINE = 12
_MAX_LETTERS = 19  # What fits under a tile.


def contact_sheet(
    source: ImageSource,
    rows: Sequence[int] | npt.NDArray[np.integer],
    captions: Sequence[str],
    columns: int = 6,
) -> Image.Image | None:
    """Returns some images of a source in one picture, each above its caption.

    Args:
        source: The images.
        rows: Numbers of the images to show.
        captions: One text for each of them, of at most two lines. Long lines are cut.
        columns: Number of images side by side.

    Returns:
        A picture, or `None` if `rows` is empty.
    """
    if not len(rows):
        return None
    width, height = _TILE + 4, _TILE + 2 * _LINE + 2
    lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (width * min(columns, len(rows)), height * lines), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (image, caption) in enumerate(zip(source.take(rows).images, captions, strict=True)):
        left, top = width * (number % columns), height * (number // columns)
        picture = read_image(image)
        picture.thumbnail((_TILE, _TILE))
        sheet.paste(picture, (left, top))
        for line, text in enumerate(caption.split("\n")):
            draw.text((left, top + _TILE + _LINE * line), text[:_MAX_LETTERS], fill="black")
    return sheet


def mistakes_sheet(
    source: ImageSource, predictions: npt.NDArray[np.integer], most: int = 12
) -> Image.Image | None:
    """Returns a picture of images that a classifier named wrong: true class > prediction.

    Args:
        source: The test images with their labels.
        predictions: The predicted class of each image, shape `(images,)`.
        most: Number of images to show at most. They are drawn at random from all mistakes.

    Returns:
        A picture, the same for the same arguments, or `None` if there is no mistake.

    Raises:
        InputError: If `predictions` has another shape, or an image cannot be read.

    Example:
        >>> from pathlib import Path
        >>> from keras_cmm.data import ImageList
        >>> source = ImageList((Path("ant.png"),), np.array([0]), ("ant", "bee"), Path("."))
        >>> mistakes_sheet(source, np.array([0])) is None
        True
    """
    if np.shape(predictions) != (len(source),):
        raise InputError(
            f"`predictions` must have one class id an image, shape {(len(source),)}. "
            f"Received: shape {np.shape(predictions)}"
        )
    labels, names = source.labels, source.class_names
    wrong = np.random.default_rng(0).permutation(np.flatnonzero(predictions != labels))
    rows = np.sort(wrong[:most])
    captions = [f"{names[labels[row]]}\n> {names[predictions[row]]}" for row in rows]
    return contact_sheet(source, rows, captions)
