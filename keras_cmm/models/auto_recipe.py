"""The recipe that decides everything from the support set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_cmm.models.support_start import support_start
from keras_cmm.models.training_recipe import TrainingRecipe

if TYPE_CHECKING:
    from keras_cmm.models.cmm_classifier import CMMClassifier


@dataclass(frozen=True)
class AutoRecipe(TrainingRecipe):
    """The default CMM recipe: a closed-form start, then few and small steps.

    The mapping and the prototypes start where `support_start` puts them, and the texts, moved to
    the images' mean, are trained on beside the images. The mapped images' logits count more the
    more shots there are: their scale is `shot_scale * shots**shot_exponent`, whatever CLIP's.

    One set of constants serves every data set and number of shots. `examples/study_recipe.py`
    measures what each ingredient does, and what other values would give.

    Args:
        learning_rate: float > 0. As in `TrainingRecipe`.
        weight_decay: float >= 0. As in `TrainingRecipe`; decay would pull the map from its start.
        epochs: int >= 1. As in `TrainingRecipe`.
        min_steps: int. As in `TrainingRecipe`.
        batch_size: int >= 1. As in `TrainingRecipe`.
        max_steps: int or `None`. As in `TrainingRecipe`; so a step's cost, which grows with the
            classes, is not multiplied by a number of steps that grows with them too.
        shot_scale: float > 0. Scale of the mapped images' logits at one shot.
        shot_exponent: float. How that scale grows with the shots.
        prior_shots: float >= 0. How many images a class's text counts for at the start.
        triplet_weight: float >= 0. Weight of the triplet loss; the start has done most of its work.
        text_rows: bool. Train on the texts beside the images.

    Example:
        >>> import numpy as np
        >>> from keras_cmm import AutoRecipe, CMMClassifier
        >>> head = CMMClassifier.from_text_embeddings(np.eye(3, 8), logit_scale=100.0)
        >>> images, labels = AutoRecipe().start(head, np.eye(3, 8, 1), np.arange(3))
        >>> images.shape, labels.tolist(), head.alpha
        ((6, 8), [0, 1, 2, 0, 1, 2], 0.15)
    """

    learning_rate: float = 2.5e-4
    weight_decay: float = 0.0
    epochs: int = 1
    min_steps: int = 150
    max_steps: int | None = 150
    shot_scale: float = 15.0
    shot_exponent: float = 0.75
    prior_shots: float = 4.0
    triplet_weight: float = 0.3
    text_rows: bool = True

    def start(
        self,
        head: CMMClassifier,
        embeddings: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[Any],
    ) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[Any]]:
        """Puts a head at its start, and returns what to train it on.

        Args:
            head: a built classifier with a full-rank residual mapping without bias.
            embeddings: support set, `(images, dim)`, rows of unit length.
            labels: `(images,)` class ids.

        Returns:
            The rows to train on and their class ids: the support set, and the texts after it.
        """
        start = support_start(
            embeddings,
            labels,
            head.text_embeddings,
            self.prior_shots,
        )
        head.mapping.kernel.assign(start.transform - np.eye(len(start.transform), dtype="float32"))
        head.prototypes.embeddings.assign(start.prototypes)
        shots = len(labels) / len(np.unique(labels))
        head.alpha = self.shot_scale * shots**self.shot_exponent / head.logit_scale
        head.triplet_weight = self.triplet_weight
        # A traced training step holds the old weights of the objective.
        head.train_function = head.test_function = head.predict_function = None
        if not self.text_rows:
            return embeddings, labels
        return (
            np.concatenate([embeddings, start.text_rows.astype(embeddings.dtype)]),
            np.concatenate([labels, np.arange(head.num_classes, dtype=labels.dtype)]),
        )
