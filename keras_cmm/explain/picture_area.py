"""From the patches of a preprocessed image to the pixels of the picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image


def on_the_picture(
    patches: npt.NDArray[np.float32], size: tuple[int, int], box: tuple[float, float, float, float]
) -> npt.NDArray[np.float32]:
    """Spreads the values of patches over the part of a picture that they were cut from.

    Between the centres of patches, values are interpolated.

    Args:
        patches: `(rows, columns)`, one value a patch.
        size: width and height of the picture.
        box: the part of the picture, left, top, right and bottom in pixels. It may be larger than
            the picture.

    Returns:
        `(height, width)`, zero outside of `box`.

    Example:
        >>> on_the_picture(np.ones((2, 2), "float32"), (6, 2), (2, 0, 4, 2))
        array([[0., 0., 1., 1., 0., 0.],
               [0., 0., 1., 1., 0., 0.]], dtype=float32)
    """
    left, top, right, bottom = (round(edge) for edge in box)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    values = Image.fromarray(np.asarray(patches, dtype="float32"))
    spread = values.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    heat = np.zeros((size[1], size[0]), dtype="float32")
    # A box that is larger than the picture begins at numbers below 0.
    inside = np.asarray(spread)[max(0, -top) :, max(0, -left) :]
    heat[max(0, top) : bottom, max(0, left) : right] = inside[
        : size[1] - max(0, top), : size[0] - max(0, left)
    ]
    return heat
