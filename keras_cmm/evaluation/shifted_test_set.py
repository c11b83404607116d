"""A test set of other images than the training's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class ShiftedTestSet(NamedTuple):
    """Test images whose classes are those of another data set, or some of them.

    Args:
        dataset: Name of the test set, such as "imagenet_a".
        embeddings: Image embeddings, shape `(images, dim)`.
        labels: For each image a number in `classes`, shape `(images,)`.
        classes: The classes that are scored, as ids of the data set that methods are trained on,
            ascending, shape `(classes,)`: 200 of 1,000 for ImageNet-A and -R.

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
