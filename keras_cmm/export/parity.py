"""Comparing an exported classifier with Keras."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from keras_cmm_runtime.errors import InputError

# The largest difference of a cosine, by the dtype that Keras computes in. The exported file
# computes in float32.
_TOLERANCES = {"float32": 2e-5, "float16": 5e-3, "bfloat16": 4e-2}


class Parity(NamedTuple):
    """How an exported classifier compares with Keras.

    Args:
        images: int. Images, or embeddings, that were compared.
        largest_difference: float. The largest difference of a logit.
        same_top_1: int. How many have the same most probable class.
    """

    images: int
    largest_difference: float
    same_top_1: int

    def __str__(self) -> str:
        return (
            f"largest difference of a logit from Keras {self.largest_difference:.1e}, same top-1 "
            f"on {self.same_top_1} of {self.images}"
        )


def compare(logits: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> Parity:
    """Compares logits, `(images, classes)`, with those of Keras."""
    if not np.isfinite(logits).all():
        raise InputError(
            "the exported classifier gives numbers that are not finite; please report this."
        )
    same = logits.argmax(axis=1) == expected.argmax(axis=1)
    difference = float(np.abs(logits - expected).max(initial=0))
    return Parity(len(logits), difference, int(same.sum()))


def check_parity(
    logits: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], head: Any, dtype: str
) -> Parity:
    """Raises an error unless logits are those of Keras, but for rounding.

    Args:
        logits: `(images, classes)`, of the exported classifier.
        expected: the same of Keras.
        head: the `CMMClassifier`.
        dtype: what the backbone computes in.

    Returns:
        The comparison.

    Raises:
        InputError: if a logit differs by more than rounding, or an image gets another class whose
            logit was not within that of the first.
    """
    parity = compare(logits, expected)
    scale = head.logit_scale * (head.clip_weight + head.alpha)
    allowed = max(_TOLERANCES[dtype] * scale, 1e-4)
    rows = np.arange(len(expected))
    lead = expected.max(axis=1) - expected[rows, logits.argmax(axis=1)]
    if parity.largest_difference > allowed or (lead > allowed).any():
        raise InputError(
            f"the exported classifier does not agree with Keras: {parity}, where {allowed:.1e} is "
            "allowed; use the classifier in Keras and report this."
        )
    return parity


def example_pixels(image_size: int, images: int) -> npt.NDArray[np.uint8]:
    """Returns made-up pictures, uint8 `(images, image_size, image_size, 3)`: coloured clouds."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(images):
        coarse = rng.integers(0, 256, (2 + number % 7, 2 + number % 5, 3), dtype="uint8")
        clouds = Image.fromarray(coarse).resize((image_size, image_size), Image.Resampling.BICUBIC)
        noise = rng.normal(0, 5 * (number % 4), (image_size, image_size, 3))
        pictures.append((np.asarray(clouds) + noise).clip(0, 255).astype("uint8"))
    return np.stack(pictures)
