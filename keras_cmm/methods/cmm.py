"""Cross-Modal Mapping."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from keras_cmm.errors import InputError
from keras_cmm.losses import CrossModalTripletLoss
from keras_cmm.methods.few_shot_method import FewShotMethod
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.models import CMMClassifier, ShuffledBatches, TrainingRecipe

# Bounds the memory of a (batch, classes) matrix of logits, and is large enough to be fast.
_PREDICTION_BATCH = 4096


class CMM(FewShotMethod):
    """`CMMClassifier` trained by `TrainingRecipe`, with fixed hyper-parameters.

    A class without a support row keeps its text prototype as a start, and the other classes' rows
    train the mapping for it too. The paper publishes none of the values below; they are this
    project's own.

    Args:
        recipe: Optimizer, schedule, epochs and batch size, or `None` for `TrainingRecipe()`.
        margin: Margin of the triplet loss, in cosine distance.
        triplet_weight: Weight of the triplet loss in the objective.
        alpha: Weight of the mapped images' logits in the fused logits.
        text: "trained" to train the prototypes with the mapping, as version 3 of the paper does, or
            "frozen" to keep them at the text embeddings, as versions 1 and 2 do.

    Raises:
        InputError: If `text` is neither.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> CMM().fit(task).predict_logits(eye).argmax(axis=1)
        array([0, 1])

    References:
        Yang et al., Cross-Modal Mapping, arXiv:2412.20110.
    """

    name: ClassVar[str] = "cmm"

    def __init__(
        self,
        recipe: TrainingRecipe | None = None,
        margin: float = 0.1,
        triplet_weight: float = 1.0,
        alpha: float = 1.0,
        text: Literal["trained", "frozen"] = "trained",
    ) -> None:
        if text not in ("trained", "frozen"):
            raise InputError(f'`text` must be "trained" or "frozen". Received: {text!r}')
        self.recipe = recipe or TrainingRecipe()
        self.margin = margin
        self.triplet_weight = triplet_weight
        self.alpha = alpha
        self.text = text

    def fit(self, task: FewShotTask) -> Self:
        """Train the mapping and the prototypes.

        Args:
            task: The support set, class texts and logit scale.

        Returns:
            The method itself, fitted.

        Raises:
            InputError: If the support set is empty.
        """
        rows = len(task.labels)
        if not rows:
            raise InputError(
                f"`{self.name}` needs at least one support row; without any, use `zero_shot`. "
                "Received: none"
            )
        epochs = self.recipe.epochs_for(rows)
        self.model_ = CMMClassifier.from_text_embeddings(
            task.text_embeddings,
            triplet_loss=CrossModalTripletLoss(margin=self.margin),
            alpha=self.alpha,
            logit_scale=task.logit_scale,
            triplet_weight=self.triplet_weight,
            train_prototypes=self.text == "trained",
        )
        self.model_.compile(optimizer=self.recipe.optimizer_for(rows, epochs), metrics=None)
        batches = ShuffledBatches(task.embeddings, task.labels, self.recipe.batch_size, task.seed)
        self.model_.fit(batches, epochs=epochs, shuffle=False, verbose=0)
        self.hyperparameters_ = {
            "learning_rate": self.recipe.learning_rate,
            "weight_decay": self.recipe.weight_decay,
            "epochs": epochs,
            "batch_size": self.recipe.batch_size,
            "margin": self.margin,
            "triplet_weight": self.triplet_weight,
            "alpha": self.alpha,
            "text": self.text,
            "logit_scale": float(task.logit_scale),
            "selection": "fixed",
        }
        return self

    def predict_logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Score every class.

        Args:
            embeddings: Unit-length float32 image embeddings, shape `(batch, dim)`.

        Returns:
            float32 logits, shape `(batch, classes)`.
        """
        if not len(embeddings):  # Keras predicts no empty array.
            return np.empty((0, self.model_.num_classes), dtype="float32")
        return np.asarray(self.model_.predict(embeddings, batch_size=_PREDICTION_BATCH, verbose=0))
