"""The prototype of a class that is added to a trained head."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.recipes.text_prior import text_places
from keras_cmm_runtime.utils.unit_rows import unit_rows

Array = npt.NDArray[np.floating[Any]]

# As in `AutoRecipe`: how many images the text of a class counts for.
_PRIOR_SHOTS = 2.0


def new_prototype(
    text: Array,
    texts: Array,
    prototypes: Array,
    mapped_images: Array | None = None,
    mapped_centre: Array | None = None,
) -> npt.NDArray[np.float32]:
    """Returns a prototype for a new class, from its text and its images.

    The prototype is as far from the mean of the others as these are. Its direction from there is
    what the text tells: that of a class without images in `closed_form_start`, with the prototypes
    in the place of the mean images. Images have another mean than the prototypes, so they tell the
    direction from their own. The text counts for two images. Where the prototypes are the texts, it
    is the text itself.

    Args:
        text: `(dim,)`, of unit length.
        texts: `(classes, dim)`, of the other classes.
        prototypes: `(classes, dim)`, of the other classes.
        mapped_images: `(images, dim)`, of the new class, or `None`.
        mapped_centre: `(dim,)`, the mean of the other classes' mapped images, where there are
            images.

    Returns:
        float32 `(dim,)`, of unit length.

    Example:
        >>> import numpy as np
        >>> row = new_prototype(np.eye(3)[2], np.eye(2, 3), np.eye(2, 3))
        >>> print(np.round(row, 3))
        [0. 0. 1.]
    """
    if np.array_equal(texts, prototypes):
        return unit_rows(text)
    rows = unit_rows(prototypes).astype("float64")
    centre = rows.mean(axis=0)
    direction = unit_rows(_text_deviation(text, texts, rows - centre))
    if mapped_images is not None and mapped_centre is not None:
        weight = len(mapped_images) / (len(mapped_images) + _PRIOR_SHOTS)
        mean = unit_rows(mapped_images).mean(axis=0, dtype="float64")
        direction = unit_rows(weight * unit_rows(mean - mapped_centre) + (1 - weight) * direction)
    return unit_rows(centre + np.linalg.norm(rows - centre, axis=1).mean() * direction)


def _text_deviation(text: Array, texts: Array, deviations: Array) -> Array:
    """Returns where the text tells a class to be, as a deviation from the mean prototype."""
    all_deviations = np.append(deviations, np.zeros((1, len(text))), axis=0)
    text_deviations = np.append(texts, text[None], axis=0) - texts.mean(axis=0, dtype="float64")
    counts = np.append(np.ones(len(texts), dtype="int64"), 0)[:, None]
    places: Array = text_places(all_deviations, text_deviations, counts, shrinkage_factor=4.0)
    return places[-1]
