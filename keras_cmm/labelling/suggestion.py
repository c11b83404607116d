"""An image to label next, and what it seems to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm.labelling.suggest import DEFAULT_STRATEGY, suggest
from keras_cmm_runtime.errors import InputError

if TYPE_CHECKING:
    from keras_cmm.models.cmm_image_classifier import CMMImageClassifier


class Suggestion(NamedTuple):
    """An image to label next.

    Args:
        row: The number of the image.
        class_name: The most probable class.
        probability: Its probability.
    """

    row: int
    class_name: str
    probability: float


def suggestions(
    classifier: CMMImageClassifier,
    embeddings: npt.NDArray[np.floating],
    count: int = 20,
    strategy: str = DEFAULT_STRATEGY,
    seed: int = 1,
) -> list[Suggestion]:
    """Returns which images to label next, as `suggest` chooses them for a classifier.

    A classifier that was trained brings its probabilities, and its training images where it keeps
    their embeddings. One that was not trained brings those of its class texts.

    Args:
        classifier: A `CMMImageClassifier`, trained or new.
        embeddings: `(images, dim)`, as its `embed` returns them.
        count: int >= 1. How many images to choose.
        strategy: A strategy of `suggest`.
        seed: int >= 0. Seed of what is drawn.

    Returns:
        The images, the most wanted first.

    Raises:
        InputError: If an argument cannot be used.

    Example:
        >>> from keras_cmm.labelling import suggestions  # doctest: +SKIP
        >>> suggestions(model, model.embed(["a.jpg", "b.jpg"]), 1)  # doctest: +SKIP
        [Suggestion(row=1, class_name='dog', probability=0.52)]
    """
    texts, support = classifier.text_embeddings, classifier.support_images
    if np.ndim(embeddings) != 2 or np.shape(embeddings)[1] < texts.shape[1]:
        raise InputError(
            f"`embeddings` must have shape (images, {texts.shape[1]}), as the classifier's `embed` "
            f"returns them. Received: shape {np.shape(embeddings)}"
        )
    probabilities = _probabilities(classifier, embeddings)
    # CLIP's part, where a second encoder's is beside it: that is what the texts belong to.
    rows = np.asarray(embeddings)[:, : texts.shape[1]]
    labelled = labels = None
    ids = {name: number for number, name in enumerate(classifier.class_names)}
    if classifier.head.is_trained and support is not None:
        known = [row for row, name in enumerate(support.classes) if name in ids]
        labelled = support.embeddings[known][:, : texts.shape[1]].astype("float32")
        labels = np.array([ids[support.classes[row]] for row in known], dtype="int64")
    chosen = suggest(
        rows,
        probabilities,
        count,
        labelled=labelled,
        labels=labels,
        strategy=strategy,
        seed=seed,
    )
    best = probabilities.argmax(axis=1)
    return [
        Suggestion(row, classifier.class_names[best[row]], float(probabilities[row, best[row]]))
        for row in chosen.tolist()
    ]


def _probabilities(
    classifier: CMMImageClassifier, embeddings: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    """Returns the probabilities of the classes, `(images, classes)`."""
    from keras import ops
    from scipy.special import softmax

    head = classifier.head
    if head.is_trained:
        logits = classifier.predict_embeddings(embeddings)
        return np.asarray(ops.convert_to_numpy(head.probabilities(logits)))
    # A head that was not trained is sharper than CLIP.
    texts = head.text_embeddings
    logits = head.logit_scale * np.asarray(embeddings)[:, : texts.shape[1]] @ texts.T
    probabilities: npt.NDArray[np.floating] = softmax(logits, axis=1)
    return probabilities
