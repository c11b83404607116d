"""Unknown images and prediction sets of an image classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.models.cmm_classifier import CMMClassifier
from keras_cmm.recipes import TrainingRecipe
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.same_names import same_names

UNKNOWN = "unknown"


class ImageUnknowns:
    """The part of `CMMImageClassifier` that says "none of these", and names sets of classes."""

    class_names: tuple[str, ...]
    head: CMMClassifier
    embed: Callable[[Any], npt.NDArray[np.float32]]
    predict_embeddings: Callable[[Any], npt.NDArray[np.float32]]
    _embed_labelled: Callable[[Any, Any], tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]
    _recipe: Callable[[int | None, int | None, dict[str, Any]], TrainingRecipe]

    def calibrate_unknowns(
        self, x: Any, y: Any = None, held_out: bool = False, folds: int = 5, seed: int = 0
    ) -> None:
        """Finds what the classes' own images look like when they are new.

        `classify(..., reject=0.05)` and `predict_sets` judge by it, also after saving and loading.
        `fit` does it already, on the images that it fits the temperature on: on `validation_data`,
        or on up to four images of each class, by a second head that is trained without them. This
        uses all images, and trains `folds` heads. What the classifier predicts stays.

        Args:
            x: images, see the class: those that the classifier was trained on.
            y: labels, where `x` does not bring its own.
            held_out: bool. Whether these images were not trained on. They then count as they are,
                and nothing is trained. A classifier of one image a class needs such images.
            folds: int >= 2.
            seed: int >= 0. Seed of the folds and of the training.

        Raises:
            InputError: if an image or a label cannot be used, or no class has two images.

        Example:
            >>> model.calibrate_unknowns(images, labels)  # doctest: +SKIP
            >>> model.classify(["fog.jpg"], reject=0.05)  # doctest: +SKIP
            [[('unknown', 0.99)]]
        """
        embeddings, labels = self._embed_labelled(x, y)
        recipe = self._recipe(None, None, {})
        self.head.calibrate_unknowns(embeddings, labels, held_out, folds, seed, recipe)

    def unknown_scores(self, x: Any) -> npt.NDArray[np.float32]:
        """Returns how unlike the classes images are: the cosine distance to the nearest prototype.

        Args:
            x: images, see the class, or a single one.

        Returns:
            float32 `(images,)`, 1 less `CMMClassifier.likeness`. Higher is less like the classes.
        """
        return 1 - self.head.likeness(self.embed(x))

    def predict_sets(self, x: Any, coverage: float = 0.9) -> list[list[tuple[str, float]]]:
        """Names for each image the classes that hold its own with probability `coverage`.

        The sets are conformal, see `keras_cmm_runtime.unknowns.HeldOutScores`. The probability is
        over images like those that `fit` held out, or that `calibrate_unknowns` was given.

        Args:
            x: images, see the class, or a single one.
            coverage: float in (0, 1).

        Returns:
            For each image its `(class name, probability)` pairs, the most probable first. It has
            one pair or more.

        Raises:
            InputError: if `coverage` is out of range, or the classifier is not calibrated, or on
                too few images.
        """
        return self.predict_sets_of_embeddings(self.embed(x), coverage)

    def predict_sets_of_embeddings(
        self, embeddings: npt.NDArray[np.floating], coverage: float = 0.9
    ) -> list[list[tuple[str, float]]]:
        """Names the sets of `(images, dim)` embeddings, as `predict_sets` does of images."""
        sets = self.head.predict_sets(embeddings, coverage)
        probabilities = self._probabilities(embeddings)
        return [
            [
                (self.class_names[column], float(row[column]))
                for column in np.argsort(-row, kind="stable")
                if within[column]
            ]
            for row, within in zip(probabilities, sets, strict=True)
        ]

    def _probabilities(self, embeddings: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        logits = self.predict_embeddings(embeddings)
        probabilities: npt.NDArray[np.float32] = ops.convert_to_numpy(
            self.head.probabilities(logits)
        )
        return probabilities

    def _name_unknowns(
        self,
        named: list[list[tuple[str, float]]],
        embeddings: npt.NDArray[np.floating],
        reject: float,
    ) -> list[list[tuple[str, float]]]:
        """Puts "unknown" in the place of the classes of images that are unlike them."""
        if same_names([UNKNOWN], self.class_names):
            raise InputError(
                f"`reject` cannot be used with a class of the name {UNKNOWN!r}: rename it by "
                "`rename_class`."
            )
        unknown = self.head.is_unknown(embeddings, reject)
        share = self.head.share_more_alike(embeddings)
        return [
            [(UNKNOWN, float(part))] if is_unknown else best
            for best, is_unknown, part in zip(named, unknown, share, strict=True)
        ]
