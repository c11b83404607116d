"""A test set whose images differ from those of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError


@dataclass(frozen=True, eq=False)
class ShiftedTestSet:
    """Test images for classifiers that were trained on another data set.

    Args:
        dataset: Name of the test set, such as "imagenet_a".
        embeddings: Image embeddings, shape `(images, dim)`.
        labels: Position of each image's class in `classes`, shape `(images,)`.
        classes: Ids of the classes that are scored, in the data set of training, ascending, shape
            `(classes,)`. ImageNet-A and -R have 200 of the 1,000 classes.

    Raises:
        InputError: If there is no image, or `labels` or `classes` are not as described.

    Example:
        >>> import numpy as np
        >>> shift = ShiftedTestSet("imagenet_a", np.eye(2), np.array([0, 1]), np.array([6, 11]))
        >>> shift.classes[shift.labels]
        array([ 6, 11])

    References:
        Hendrycks et al., "Natural Adversarial Examples", CVPR 2021, arXiv:1907.07174.
    """

    dataset: str
    embeddings: npt.NDArray[np.floating]
    labels: npt.NDArray[np.integer]
    classes: npt.NDArray[np.integer]

    def __post_init__(self) -> None:
        if not len(self.labels) or len(self.labels) != len(self.embeddings):
            raise InputError(
                f"{self.dataset}: there must be one label for each embedding, and at least one. "
                f"Received: {len(self.embeddings)} embeddings and {len(self.labels)} labels"
            )
        if not len(self.classes) or (np.diff(self.classes) <= 0).any():
            raise InputError(
                f"{self.dataset}: `classes` must be class ids in ascending order. "
                f"Received: {np.asarray(self.classes)[:5].tolist()}..."
            )
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise InputError(
                f"{self.dataset}: `labels` must be positions in the {len(self.classes)} `classes`, "
                f"as by `np.searchsorted(classes, class_ids)`. Received: from {self.labels.min()} "
                f"to {self.labels.max()}"
            )
