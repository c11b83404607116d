"""How sure a head is of images that it was not trained on."""

from __future__ import annotations

from typing import Any

from keras_cmm.recipes import AutoRecipe, TrainingRecipe, checked_support, cross_validated_scores
from keras_cmm_runtime.unknowns import HeldOutScores


class HeadCalibration:
    """The part of `CMMClassifier` that keeps the `HeldOutScores` of its recipe, or `None`.

    They are saved with the weights. `held_out_scores.is_unknown` and `prediction_sets` judge the
    `probabilities` of new images.
    """

    held_out_scores: HeldOutScores | None = None

    def calibrate_unknowns(
        self,
        x: Any,
        y: Any,
        folds: int = 5,
        seed: int = 0,
        recipe: TrainingRecipe | None = None,
    ) -> None:
        """Finds `held_out_scores` on the whole support set, by cross-validation.

        A recipe's `fit` finds them on the images that it fits the temperature on. This trains
        `folds` heads, each without a part of the images. The head itself does not change.

        Args:
            x: `(images, dim)`, embeddings of the support set.
            y: `(images,)` class ids, or one-hot labels.
            folds: int >= 2.
            seed: int >= 0. Seed of the folds and of the training.
            recipe: how the heads are trained; `None` for `AutoRecipe()`.

        Raises:
            InputError: if an embedding or a label cannot be used, or no class has two images.

        Example:
            >>> import numpy as np
            >>> from keras_cmm import AutoRecipe, CMMClassifier
            >>> head = CMMClassifier.from_text_embeddings(np.eye(2, 3))
            >>> x, y = np.array([[9, 1, 1], [1, 9, 0]] * 10), [0, 1] * 10
            >>> head.calibrate_unknowns(x, y, folds=2, recipe=AutoRecipe(epochs=1, min_steps=1))
            >>> head.held_out_scores.own.shape
            (20,)
        """
        model: Any = self
        x, y = checked_support(model, x, y)
        recipe = recipe or AutoRecipe()
        self.held_out_scores = cross_validated_scores(recipe, model, x, y, folds, seed)
