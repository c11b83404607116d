"""How far apart images and texts lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm.models import find_duplicate_groups
from keras_cmm_runtime.utils.unit_rows import unit_rows


class ModalityGap(NamedTuple):
    """The gap between image and text embeddings, in three numbers.

    Attributes:
        centroid_distance: Euclidean distance between the mean image embedding and the mean text
            embedding, both of unit-length rows; 0 to 2.
        own_cosine: Mean cosine of an image to the text of its class.
        hardest_wrong_cosine: Mean cosine of an image to the closest text of another class.

    References:
        The distance of the centroids: Liang et al., "Mind the Gap", NeurIPS 2022,
        arXiv:2203.02053. The cosines are those of the triplet loss: Yang et al., arXiv:2412.20110.
    """

    centroid_distance: float
    own_cosine: float
    hardest_wrong_cosine: float


def measure_modality_gap(
    image_embeddings: npt.NDArray[np.floating],
    text_embeddings: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    duplicate_groups: Sequence[Sequence[int]] | None = None,
) -> ModalityGap:
    """Measures the gap between images and the texts of their classes.

    A text that another class shares is not a wrong text for that class.

    Args:
        image_embeddings: Image embeddings of any length, shape `(images, dim)`.
        text_embeddings: One embedding a class, of any length, shape `(classes, dim)`.
        labels: Class of each image, shape `(images,)`.
        duplicate_groups: Groups of classes that share a text. `None` groups the classes with equal
            embeddings; trained prototypes need the groups, because training drives them apart.

    Returns:
        The three numbers; `hardest_wrong_cosine` is NaN if there is no wrong text.

    Example:
        >>> import numpy as np
        >>> images, texts = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> gap = measure_modality_gap(images, texts, labels=np.array([0]))
        >>> round(gap.own_cosine, 3), round(gap.hardest_wrong_cosine, 3)
        (0.6, 0.8)
    """
    images, texts = unit_rows(image_embeddings), unit_rows(text_embeddings)
    cosines = images @ texts.T
    own = cosines[np.arange(len(labels)), labels]

    cosines[np.arange(len(labels)), labels] = -np.inf
    if duplicate_groups is None:
        duplicate_groups = find_duplicate_groups(texts)
    for group in duplicate_groups:
        cosines[np.ix_(np.isin(labels, group), np.asarray(group))] = -np.inf
    hardest = cosines.max(axis=1)
    return ModalityGap(
        centroid_distance=float(np.linalg.norm(images.mean(axis=0) - texts.mean(axis=0))),
        own_cosine=float(own.mean()),
        hardest_wrong_cosine=float(hardest.mean()) if np.isfinite(hardest).all() else float("nan"),
    )
