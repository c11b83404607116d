"""What to look at again in a set of labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from keras_cmm.labelling.class_checks import alike_classes, silent_names
from keras_cmm.labelling.duplicates import near_duplicates
from keras_cmm.labelling.finding import Finding
from keras_cmm.labelling.odd_images import odd_images
from keras_cmm.labelling.out_of_fold import closed_form_predict, out_of_fold
from keras_cmm.labelling.wrong_labels import wrong_labels
from keras_cmm.utils.labels import checked_ids
from keras_cmm_runtime.errors import InputError


def audit(
    embeddings: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    text_embeddings: npt.NDArray[np.floating],
    logit_scale: float = 100.0,
    splits: Sequence[str | None] | None = None,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Finds what to look at again in labelled images, by their embeddings and class texts.

    These are labels that look wrong (`wrong_labels`), near copies (`near_duplicates`), odd images
    (`odd_images`), class names that tell nothing (`silent_names`) and classes that cannot be told
    apart (`alike_classes`). The probabilities are those of CMM's closed-form start, made on four
    fifths of the images and asked about the others. Nothing is changed and nothing is trained.

    Args:
        embeddings: `(images, dim)`, CLIP's.
        labels: `(images,)` class ids.
        text_embeddings: `(classes, dim)`, the class texts by the same model.
        logit_scale: float > 0. CLIP's inverse temperature.
        splits: The split of each image, such as "train", or `None`.
        seed: int >= 0. Seed of the folds.
        progress: Called with the number of folds that are done, and of all.

    Returns:
        The findings, kind by kind, the most important of a kind first.

    Raises:
        InputError: If an argument cannot be used.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.labelling import audit
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1, 2], 10)
        >>> rows = np.eye(3, 8)[labels] + 0.05 * rng.normal(size=(30, 8))
        >>> labels[0] = 1
        >>> found = audit(rows, labels, np.eye(3, 8))
        >>> [each.row for each in found if each.kind == "wrong_label"]
        [0]
    """
    rows, texts = np.asarray(embeddings, "float32"), np.asarray(text_embeddings, "float32")
    if rows.ndim != 2 or texts.ndim != 2 or rows.shape[1] != texts.shape[1] or not len(rows):
        raise InputError(
            "`embeddings` and `text_embeddings` must have shape (images, dim) and (classes, dim), "
            f"by the same model. Received: {rows.shape} and {texts.shape}"
        )
    if np.shape(labels) != (len(rows),) or (splits is not None and len(splits) != len(rows)):
        raise InputError(
            f"`labels` must be {len(rows)} class ids, one for each image, and `splits` as many "
            f"names. Received: shape {np.shape(labels)}"
        )
    ids = checked_ids(np.asarray(labels), len(texts))
    probabilities = out_of_fold(
        rows, ids, len(texts), closed_form_predict(texts, logit_scale), seed, progress
    )
    return [
        *wrong_labels(ids, probabilities),
        *near_duplicates(rows, ids, splits),
        *odd_images(rows, ids, probabilities),
        *silent_names(rows, ids, texts),
        *alike_classes(ids, probabilities),
    ]
