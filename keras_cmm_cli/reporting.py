"""The sections of a report on a trained classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm import CMMImageClassifier

_PICTURES = 24
_GUESSES = 3


def classifier_sections(
    classifier: CMMImageClassifier,
    embeddings: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer],
    images: Any,
) -> dict[str, Any]:
    """Returns the arguments of `ReportContent` that show a classifier on test images.

    Args:
        classifier: The trained classifier.
        embeddings: Test embeddings, shape `(images, dim)`.
        labels: Their classes, shape `(images,)`.
        images: The test images themselves, as paths or arrays.
    """
    import numpy as np
    from keras import ops

    from keras_cmm.report import ClassifierResult, MappedEmbeddings

    head = classifier.head
    logits = classifier.predict_embeddings(embeddings)
    probabilities = np.asarray(ops.convert_to_numpy(head.probabilities(logits)))
    return {
        "classifier": ClassifierResult(classifier.class_names, labels, probabilities),
        "embeddings": MappedEmbeddings.from_head(head, embeddings, labels),
        "gallery": _gallery(classifier.class_names, probabilities, labels, images),
    }


def _gallery(
    class_names: Sequence[str],
    probabilities: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    images: Any,
) -> list[Any]:
    """Picks some correctly and some wrongly classified test images at random."""
    import numpy as np

    from keras_cmm.report import GalleryPicture

    is_right = probabilities.argmax(axis=1) == labels
    generator = np.random.default_rng(0)
    rows = []
    for wanted in (is_right, ~is_right):
        candidates = generator.permutation(np.flatnonzero(wanted))
        rows += candidates[:_PICTURES].tolist()
    pictures = []
    for row in rows:
        best = np.argsort(-probabilities[row], kind="stable")[:_GUESSES]
        guesses = [(class_names[column], float(probabilities[row, column])) for column in best]
        picture = images[row]
        # A file in an archive is read now; the report reads a file on disk.
        if not isinstance(picture, Path | np.ndarray):
            picture = picture.read_bytes()
        pictures.append(GalleryPicture(picture, class_names[int(labels[row])], guesses))
    return pictures
