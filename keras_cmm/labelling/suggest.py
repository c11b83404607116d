"""Which images to label next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_cmm.labelling.pool import Pool
from keras_cmm.labelling.strategies import STRATEGIES
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.check_number import check_int

DEFAULT_STRATEGY = "cover"


def suggest(
    embeddings: npt.NDArray[np.floating],
    probabilities: npt.NDArray[np.floating],
    count: int = 20,
    *,
    labelled: npt.NDArray[np.floating] | None = None,
    labels: npt.NDArray[np.integer] | None = None,
    strategy: str = DEFAULT_STRATEGY,
    seed: int = 1,
) -> npt.NDArray[np.int64]:
    """Returns which images to label next.

    Without a trained classifier, `probabilities` are those that CLIP gives the class texts. After
    each round of labels they are those of the classifier that was trained on them.

    The strategies are `"cover"`, images that all others are similar to, of which the classifier is
    not sure; `"balanced_cover"`, as many for each class; `"margin"` and `"entropy"`, images that
    the classifier is least sure of; `"k_centre"`, `"typiclust"` and `"class_guided"`, images all
    over the embedding space; and `"random"`. `docs/labelling.md` compares them.

    Args:
        embeddings: `(images, dim)`, images without labels.
        probabilities: `(images, classes)`, of these images.
        count: int >= 1. How many images to choose.
        labelled: `(labelled, dim)`, embeddings of the images that have labels, or `None`.
        labels: `(labelled,)`, class ids of these images, or `None`.
        strategy: One of the names above.
        seed: int >= 0. Seed of what is drawn.

    Returns:
        Numbers of images, the most wanted first: `count` of them, or all if there are fewer.

    Raises:
        InputError: If an argument cannot be used.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.labelling import suggest
        >>> embeddings = np.array([[1.0, 0.1], [1.0, 0.0], [0.1, 1.0]])
        >>> probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
        >>> suggest(embeddings, probabilities, 2).tolist()
        [0, 2]
        >>> suggest(embeddings, probabilities, 1, strategy="margin").tolist()
        [2]
    """
    check_int("count", count, 1)
    check_int("seed", seed, 0)
    if strategy not in STRATEGIES:
        raise InputError(
            f"`strategy` must be one of {', '.join(STRATEGIES)}. Received: strategy={strategy!r}"
        )
    pool = Pool(embeddings, probabilities, labelled, labels)
    if not len(pool):
        return np.empty(0, dtype="int64")
    count = min(count, len(pool))
    return STRATEGIES[strategy](pool, count, np.random.default_rng(seed))
