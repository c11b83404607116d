"""The images that `fit` tests a new classifier on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keras_cmm_cli.accuracy import with_interval
from keras_cmm_cli.images import embed_list
from keras_cmm_cli.leakage import rows_without_copies
from keras_cmm_cli.terminal import Terminal, counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm import CMMImageClassifier
    from keras_cmm.clip import ImageEmbedder
    from keras_cmm_runtime.sources import ImageSource


@dataclass(frozen=True)
class HeldOutImages:
    """Images that the classifier is not trained on.

    Args:
        protocol: What they are, such as "of --test photos".
        embeddings: Their embeddings, `(images, dim)`.
        images: The images.
        copies: How many images were left out, since they are copies of training images.
    """

    protocol: str
    embeddings: npt.NDArray[np.float32]
    images: ImageSource
    copies: int

    @classmethod
    def embed(
        cls,
        terminal: Terminal,
        embedder: ImageEmbedder,
        images: ImageSource,
        trained_on: tuple[npt.NDArray[np.float32], ImageSource],
        protocol: str,
    ) -> HeldOutImages:
        """Embeds images and leaves out copies of training images.

        Args:
            terminal: Where the progress is shown.
            embedder: The embedder.
            images: The images, at least one.
            trained_on: Embeddings and images of the support set.
            protocol: As of the class.

        Raises:
            ClickException: If none of the images can be read.
        """
        embeddings, readable = embed_list(terminal, embedder, images, strict=False)
        rows = rows_without_copies(embeddings, readable, *trained_on)
        copies = len(readable) - len(rows)
        return cls(protocol, embeddings[rows], readable.take(rows), copies)

    def measure(self, classifier: CMMImageClassifier) -> dict[str, Any]:
        """Returns what the record of the run says of the test; see `describe`."""
        from keras_cmm.evaluation import interval_of_accuracy, macro_f1, top_1

        logits, labels = classifier.predict_embeddings(self.embeddings), self.images.labels
        accuracy = top_1(logits, labels)
        return {
            "protocol": self.protocol,
            "images": len(self.images),
            "classes": len(set(labels.tolist())),
            "trained_on": 0,
            "left_out_copies": self.copies,
            "top1": accuracy,
            "top1_interval": list(interval_of_accuracy(accuracy, len(self.images))),
            "macro_f1": macro_f1(logits.argmax(axis=1), labels),
        }


def describe(measures: dict[str, Any], classes: int) -> str:
    """Returns the line that `fit` prints about a test."""
    images = measures["images"]
    return (
        f"Test: top-1 {with_interval(measures['top1'], images)} on "
        f"{counted(images, 'image', 'images')} {measures['protocol']}, of {measures['classes']} "
        f"of {classes} classes."
    )


def held_out_rows(labels: Sequence[int], fraction: float, seed: int) -> list[int]:
    """Returns the rows of a random fraction of each class's images; one of each class stays.

    Args:
        labels: The class of each image.
        fraction: Share of the images to hold out, between 0 and 1.
        seed: Seed of the draw.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    held: list[int] = []
    for label in sorted(set(labels)):
        rows = generator.permutation(np.flatnonzero(np.equal(labels, label)))
        number = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        held += rows[:number].tolist()
    return sorted(held)
