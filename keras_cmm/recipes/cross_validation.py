"""Scores of images that a head was trained without."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.recipes.calibration import held_out_scores
from keras_cmm.recipes.head import Head
from keras_cmm.recipes.training_recipe import TrainingRecipe
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.unknowns import HeldOutScores
from keras_cmm_runtime.utils.check_number import check_int


def cross_validated_scores(
    recipe: TrainingRecipe,
    head: Head,
    embeddings: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    folds: int = 5,
    seed: int = 0,
) -> HeldOutScores:
    """Scores each image of a support set by a head that is trained without it.

    The images of each class are dealt out to the folds. The only image of a class always stays in
    training, so it is not scored.

    Args:
        recipe: how the heads are trained.
        head: the head that is copied; its temperature makes the probabilities.
        embeddings: `(images, dim)`, the support set.
        labels: `(images,)` class ids.
        folds: int >= 2. How many heads are trained.
        seed: int >= 0. Seed of the folds and of the training.

    Returns:
        The scores of all images of classes with two images or more.

    Raises:
        InputError: if no class has two images.
    """
    check_int("folds", folds, 2)
    check_int("seed", seed, 0)
    fold_of_row = _folds(labels, folds, seed)
    if (fold_of_row < 0).all():
        raise InputError(
            "no class has two images, so none can be held out of training: give more images, or "
            "`fit` with `validation_data`."
        )
    logits, order = [], []
    for fold in np.unique(fold_of_row[fold_of_row >= 0]):
        held_out = fold_of_row == fold
        second = head.copy_untrained()
        recipe.fit(
            second, embeddings[~held_out], labels[~held_out], seed=seed, verbose=0, calibrate=False
        )
        logits.append(second.predict(embeddings[held_out], batch_size=256, verbose=0))
        order.append(labels[held_out])
    return held_out_scores(np.concatenate(logits), np.concatenate(order), head.temperature)


def _folds(labels: npt.NDArray[Any], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Returns the fold of each row, -1 for the only row of a class."""
    generator = np.random.default_rng(seed)
    fold_of_row = np.full(len(labels), -1)
    dealt = 0
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        if len(rows) > 1:
            # On from the last class's fold: with few shots, all folds get rows.
            fold_of_row[rows] = (dealt + np.arange(len(rows))) % folds
            dealt += len(rows)
    return fold_of_row
