"""The likeliest classes as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.images import ImagePreprocessor
from keras_cmm_runtime.onnx_classifier import OnnxClassifier

if TYPE_CHECKING:
    import pyarrow


class PredictionModel:
    """A `ShardModel` that classifies images: the columns `classes` and `scores`.

    Each row has the `top_k` likeliest classes and their probabilities, the likeliest first.

    Args:
        classifier: the classifier.
        top_k: int. Number of classes of a row.
        batch_size: int. Number of images in a forward pass.

    Example:
        See `predict_shards`.
    """

    def __init__(self, classifier: OnnxClassifier, top_k: int = 1, batch_size: int = 16) -> None:
        self.classifier = classifier
        self.top_k = min(top_k, len(classifier.class_names))
        self.batch_size = batch_size

    @property
    def preprocessor(self) -> ImagePreprocessor:
        """What resizes and crops images."""
        return self.classifier.preprocessor

    def columns(
        self, pixels: npt.NDArray[np.uint8], readable: Sequence[bool]
    ) -> dict[str, pyarrow.Array]:
        """Returns the columns `classes` and `scores`; see `ShardModel`."""
        import pyarrow

        classes: list[list[str] | None] = [None] * len(readable)
        scores: list[list[float] | None] = [None] * len(readable)
        logits = self.classifier.predict_pixels(pixels)
        probabilities = self.classifier.probabilities(logits)
        # Of equal classes the first comes first.
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.top_k]
        names = self.classifier.class_names
        for row, best, chances in zip(
            np.flatnonzero(readable),
            order,
            np.take_along_axis(probabilities, order, 1),
            strict=True,
        ):
            classes[row] = [names[number] for number in best]
            scores[row] = chances.tolist()
        return {
            "classes": pyarrow.array(classes, pyarrow.list_(pyarrow.string())),
            "scores": pyarrow.array(scores, pyarrow.list_(pyarrow.float32())),
        }
