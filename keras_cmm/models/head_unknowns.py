"""Judging images by those that a head was not trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.layers import ClassPrototypes
from keras_cmm.recipes import (
    AutoRecipe,
    TrainingRecipe,
    checked_embeddings,
    checked_support,
    cross_validated_scores,
)
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.unknowns import HeldOutScores
from keras_cmm_runtime.utils.check_number import check_int

_BATCH = 256


class HeadUnknowns:
    """The part of `CMMClassifier` that tells unknown images, and makes prediction sets."""

    similarities: Callable[..., Any]
    probabilities: Callable[[Any], Any]
    predict: Callable[..., Any]
    text_prototypes: ClassPrototypes
    # What `is_unknown` and `predict_sets` judge by, or `None`. It is saved with the weights.
    held_out_scores: HeldOutScores | None = None

    def likeness(self, embeddings: Any) -> npt.NDArray[np.float32]:
        """Returns how like the classes images are: the cosine to the nearest prototype.

        It is the cosine of the mapped image, so a distance between unit vectors in the space that
        the map has made of the images' own.

        Args:
            embeddings: array-like of shape `(images, dim)`.

        Returns:
            float32 `(images,)`, from -1 to 1.

        Raises:
            InputError: if an embedding cannot be used.

        Example:
            >>> import numpy as np
            >>> from keras_cmm import CMMClassifier
            >>> head = CMMClassifier.from_text_embeddings(np.eye(2, 3))
            >>> np.round(head.likeness(np.eye(3)), 3).tolist()
            [1.0, 1.0, 0.0]
        """
        rows = checked_embeddings(
            embeddings, "embeddings", self.text_prototypes.embeddings.shape[1]
        )
        rows = rows.astype("float32", copy=False)
        nearest = [
            ops.convert_to_numpy(self.similarities(rows[first : first + _BATCH])).max(axis=1)
            for first in range(0, len(rows), _BATCH)
        ]
        return np.concatenate(nearest) if nearest else np.empty(0, "float32")

    def held_out_scores_of(self, embeddings: Any, labels: Any) -> HeldOutScores:
        """Returns the scores of images that this head was not trained on.

        Args:
            embeddings: `(images, dim)`.
            labels: `(images,)` class ids.
        """
        logits = self.predict(embeddings, batch_size=_BATCH, verbose=0)
        probabilities = ops.convert_to_numpy(self.probabilities(logits))
        own = probabilities[np.arange(len(probabilities)), labels]
        return HeldOutScores(self.likeness(embeddings), own)

    def calibrate_unknowns(
        self,
        x: Any,
        y: Any,
        held_out: bool = False,
        folds: int = 5,
        seed: int = 0,
        recipe: TrainingRecipe | None = None,
    ) -> None:
        """Finds what the classes' own images look like when they are new.

        `is_unknown` and `predict_sets` judge by it. The head itself does not change.

        Args:
            x: `(images, dim)`, embeddings of the support set.
            y: `(images,)` class ids, or one-hot labels.
            held_out: bool. Whether the images were not trained on. They then count as they are, and
                nothing is trained. Otherwise `folds` heads are trained, each without a part of the
                images.
            folds: int >= 2.
            seed: int >= 0. Seed of the folds and of the training.
            recipe: how the heads are trained; `None` for `AutoRecipe()`.

        Raises:
            InputError: if an embedding or a label cannot be used, or no image can be held out.

        Example:
            >>> import numpy as np
            >>> from keras_cmm import CMMClassifier
            >>> head = CMMClassifier.from_text_embeddings(np.eye(2, 3))
            >>> head.calibrate_unknowns([[9, 1, 1], [1, 9, 0]] * 10, [0, 1] * 10, held_out=True)
            >>> head.is_unknown(np.eye(3), reject=0.05)
            array([False, False,  True])
        """
        model: Any = self
        x, y = checked_support(model, x, y)
        check_int("folds", folds, 2)
        check_int("seed", seed, 0)
        if held_out:
            self.held_out_scores = self.held_out_scores_of(x, y)
        else:
            recipe = recipe or AutoRecipe()
            self.held_out_scores = cross_validated_scores(recipe, model, x, y, folds, seed)

    def is_unknown(self, embeddings: Any, reject: float = 0.05) -> npt.NDArray[np.bool_]:
        """Returns which images are less like the classes than 1 - `reject` of held-out images.

        Args:
            embeddings: `(images, dim)`.
            reject: float in (0, 1).

        Returns:
            bool `(images,)`.

        Raises:
            InputError: if the head is not calibrated, or on too few images.
        """
        return self._calibrated_scores().is_unknown(self.likeness(embeddings), reject)

    def share_more_alike(self, embeddings: Any) -> npt.NDArray[np.float64]:
        """Returns for each image the part of held-out images that are more like the classes.

        Args:
            embeddings: `(images, dim)`.
        """
        held_out = self._calibrated_scores().likeness
        return 1 - np.searchsorted(held_out, self.likeness(embeddings), "right") / len(held_out)

    def predict_sets(self, embeddings: Any, coverage: float = 0.9) -> npt.NDArray[np.bool_]:
        """Returns for each image the classes that hold its own with probability `coverage`.

        The sets are conformal, see `HeldOutScores`. The probability is over images like the
        held-out ones.

        Args:
            embeddings: `(images, dim)`.
            coverage: float in (0, 1).

        Returns:
            bool `(images, classes)`.

        Raises:
            InputError: if the head is not calibrated, or on too few images.
        """
        scores = self._calibrated_scores()
        rows = checked_embeddings(
            embeddings, "embeddings", self.text_prototypes.embeddings.shape[1]
        )
        logits = self.predict(rows, batch_size=_BATCH, verbose=0)
        return scores.prediction_sets(ops.convert_to_numpy(self.probabilities(logits)), coverage)

    def _rows(self, embeddings: Any) -> npt.NDArray[np.float32]:
        dim = self.text_prototypes.embeddings.shape[1]
        return checked_embeddings(embeddings, "embeddings", dim).astype("float32", copy=False)

    def _calibrated_scores(self) -> HeldOutScores:
        if self.held_out_scores is None:
            raise InputError(
                "the classifier does not know yet how new images of its classes look: call "
                "`calibrate_unknowns(x, y)` with its training images, or with `held_out=True` and "
                "others, and save it; or fit it again. Fitting does so where a class has two "
                "images or more; adding or removing a class undoes it."
            )
        return self.held_out_scores
