"""The names that an image classifier gives to images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.models.cmm_classifier import CMMClassifier
from keras_cmm.recipes import TrainingRecipe
from keras_cmm_runtime.unknowns import named_classes
from keras_cmm_runtime.utils.check_number import check_int


class ImageAnswers:
    """The part of `CMMImageClassifier` that names classes, "unknown", or sets of classes."""

    class_names: tuple[str, ...]
    head: CMMClassifier
    embed: Callable[..., npt.NDArray[np.float32]]
    predict: Callable[..., npt.NDArray[np.float32]]
    predict_embeddings: Callable[[Any], npt.NDArray[np.float32]]
    _embed_labelled: Callable[..., tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]
    _recipe: Callable[[int | None, int | None, dict[str, Any]], TrainingRecipe]

    def classify(
        self, x: Any, top_k: int = 5, reject: float | None = None, views: int = 0
    ) -> list[list[tuple[str, float]]]:
        """Names the most probable classes of images.

        Args:
            x: images, see the class, or a single one, as in `predict`.
            top_k: int, at least 1. How many classes.
            reject: float in (0, 1) or `None`. An image is "unknown" if the classifier is less sure
                of it than of all but this part of held-out images, see `calibrate_unknowns`.
            views: int >= 0, as in `predict`.

        Returns:
            For each image its `(class name, probability)` pairs, the most probable first. An
            unknown image has one pair: "unknown" and what its most probable class lacks to 1.

        Raises:
            InputError: if `reject` is out of range, or too few images were held out for it.
            ValueError: if `top_k` is no int >= 1.
        """
        check_int("top_k", top_k, 1)
        return self.classify_embeddings(self.embed(x, views), top_k, reject)

    def classify_embeddings(
        self, embeddings: npt.NDArray[np.floating], top_k: int = 5, reject: float | None = None
    ) -> list[list[tuple[str, float]]]:
        """Names the most probable classes of `(images, dim)` embeddings, as `classify` does."""
        check_int("top_k", top_k, 1)
        return self.named(self.predict_embeddings(embeddings), top_k, reject)

    def predict_sets(
        self, x: Any, coverage: float = 0.9, views: int = 0
    ) -> list[list[tuple[str, float]]]:
        """Names for each image the classes that hold its own with probability `coverage`.

        The sets are conformal, see `keras_cmm_runtime.unknowns.HeldOutScores`. The probability is
        over images like the held-out ones, see `calibrate_unknowns`.

        Args:
            x: images, see the class, or a single one.
            coverage: float in (0, 1).
            views: int >= 0, as in `predict`.

        Returns:
            For each image its `(class name, probability)` pairs, one or more, the most probable
            first.

        Raises:
            InputError: if `coverage` is out of range, or too few images were held out for it.
        """
        return self.named(self.predict(x, views=views), coverage=coverage)

    def named(
        self,
        logits: npt.NDArray[np.float32],
        top_k: int = 5,
        reject: float | None = None,
        coverage: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Names the classes of `(images, classes)` logits, as `classify` and `predict_sets` do."""
        probabilities = ops.convert_to_numpy(self.head.probabilities(logits))
        scores = self.head.held_out_scores
        return named_classes(self.class_names, probabilities, top_k, scores, reject, coverage)

    def calibrate_unknowns(
        self, x: Any, y: Any = None, folds: int = 5, seed: int = 0, views: int = 0
    ) -> None:
        """Finds how sure the classifier is of new images of its classes, by cross-validation.

        `classify(..., reject=0.05)` and `predict_sets` judge by it, also after saving and loading.
        `fit` finds it too, on the images that it fits the temperature on: on `validation_data`, or
        on up to four images of each class. This uses all images, and trains `folds` heads, each
        without a part of them. No prediction changes.

        Args:
            x: the images that the classifier was trained on, see the class.
            y: labels, where `x` does not bring its own.
            folds: int >= 2.
            seed: int >= 0. Seed of the folds and of the training.
            views: int >= 0, as in `fit`.

        Raises:
            InputError: if an image or a label cannot be used, or no class has two images.

        Example:
            >>> model.calibrate_unknowns(images, labels)  # doctest: +SKIP
            >>> model.classify(["fog.jpg"], reject=0.05)  # doctest: +SKIP
            [[('unknown', 0.74)]]
        """
        embeddings, labels = self._embed_labelled(x, y, views)
        recipe = self._recipe(None, None, {})
        self.head.calibrate_unknowns(embeddings, labels, folds, seed, recipe)
