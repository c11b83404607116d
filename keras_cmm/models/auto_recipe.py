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


# The width of the embeddings on which the learning rate was chosen: CLIP ViT-B's.
_RATED_DIM = 512


@dataclass(frozen=True)
class AutoRecipe(TrainingRecipe):
    """The default CMM recipe: a closed-form start, then few and small steps.

    The mapping and the prototypes start where `support_start` puts them, and the texts, moved to
    the images' mean, are trained on beside the images. The mapped images' logits count more the
    more shots there are: their scale is `shot_scale * shots**shot_exponent`, whatever CLIP's. The
    logits are softened in training, so that a sample that is fitted goes on shaping the map.

    One set of constants serves every data set and number of shots. `examples/study_recipe.py`
    measures what each ingredient does, and what other values would give.

    Args:
        learning_rate: float > 0. The peak learning rate at 512 dimensions, see `learning_rate_for`.
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
        train_temperature: float > 0. Training divides the logits by it.
        text_rows: bool. Train on the texts beside the images.

    Example:
        >>> import numpy as np
        >>> from keras_cmm import AutoRecipe, CMMClassifier
        >>> head = CMMClassifier.from_text_embeddings(np.eye(3, 8), logit_scale=100.0)
        >>> images, labels = AutoRecipe().start(head, np.eye(3, 8, 1), np.arange(3))
        >>> images.shape, labels.tolist(), head.alpha
        ((6, 8), [0, 1, 2, 0, 1, 2], 0.2)
    """

    learning_rate: float = 2e-4
    weight_decay: float = 0.0
    epochs: int = 1
    min_steps: int = 150
    max_steps: int | None = 150
    shot_scale: float = 20.0
    shot_exponent: float = 0.6
    prior_shots: float = 4.0
    triplet_weight: float = 1.0
    train_temperature: float = 2.0
    text_rows: bool = True

    def learning_rate_for(self, dim: int) -> float:
        """Returns the peak learning rate for embeddings of `dim` numbers.

        A step of Adam moves every weight of the map by about as much, and a mapped image is a sum
        over `dim` of them: so the rate falls with `dim`, and all backbones learn equally fast.

        References:
            Yang et al., "Tensor Programs V", NeurIPS 2021, arXiv:2203.03466, table 3.
        """
        return self.learning_rate * _RATED_DIM / dim

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
        head.train_temperature = self.train_temperature
        # A traced training step holds the old weights of the objective.
        head.train_function = head.test_function = head.predict_function = None
        if not self.text_rows:
            return embeddings, labels
        return (
            np.concatenate([embeddings, start.text_rows.astype(embeddings.dtype)]),
            np.concatenate([labels, np.arange(head.num_classes, dtype=labels.dtype)]),
        )
