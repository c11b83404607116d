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
# Classes shown below a picture.
GUESSES = 3


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
    from keras_cmm.report import ClassifierResult, MappedEmbeddings

    names = classifier.class_names
    logits = classifier.predict_embeddings(embeddings)
    return {
        "classifier": ClassifierResult(names, labels, logits),
        "embeddings": MappedEmbeddings.from_head(classifier.head, embeddings, labels),
        "gallery": gallery(names, classifier.named(logits, GUESSES), labels, images),
    }


def gallery(
    class_names: Sequence[str],
    best: Sequence[Sequence[tuple[str, float]]],
    labels: npt.NDArray[np.integer],
    images: Any,
) -> list[Any]:
    """Picks some wrongly and some correctly classified test images at random.

    Args:
        class_names: Name of each class.
        best: For each image some classes with their probabilities, best first.
        labels: The true class of each image, shape `(images,)`.
        images: The images themselves.
    """
    import numpy as np

    from keras_cmm.report import GalleryPicture

    is_right = np.array(
        [
            guesses[0][0] == class_names[label]
            for guesses, label in zip(best, labels.tolist(), strict=True)
        ]
    )
    generator = np.random.default_rng(0)
    rows = []
    for wanted in (~is_right, is_right):
        candidates = generator.permutation(np.flatnonzero(wanted))
        rows += candidates[:_PICTURES].tolist()
    pictures = []
    for row in rows:
        picture = images[row]
        # A file in an archive is read now; the report reads a file on disk.
        if not isinstance(picture, Path | np.ndarray):
            picture = picture.read_bytes()
        pictures.append(GalleryPicture(picture, class_names[int(labels[row])], best[row][:GUESSES]))
    return pictures
