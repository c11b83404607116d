"""One training image, as an explanation names it."""

from __future__ import annotations

from typing import NamedTuple


class SupportImage(NamedTuple):
    """A training image that is like the image that is explained.

    Args:
        name: name of the image: its path, or its number among the training images.
        class_name: the class that it was trained as.
        similarity: cosine of the two image embeddings of CLIP, in [-1, 1].
    """

    name: str
    class_name: str
    similarity: float
