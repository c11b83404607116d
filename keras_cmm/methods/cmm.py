"""Cross-Modal Mapping."""

from __future__ import annotations

from dataclasses import asdict
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from keras_cmm.losses import CrossModalTripletLoss
from keras_cmm.methods.few_shot_method import FewShotMethod
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.selection import tuning_task
from keras_cmm.models import CMMClassifier
from keras_cmm.recipes import AutoRecipe, TrainingRecipe
from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.check_number import check_number

# Bounds the memory of a (batch, classes) matrix of logits, and is large enough to be fast.
_PREDICTION_BATCH = 4096

_RECIPES: dict[str, type[TrainingRecipe]] = {"auto": AutoRecipe, "plain": TrainingRecipe}


class CMM(FewShotMethod):
    """`CMMClassifier` trained by a recipe, with nothing to tune.

    The recipe `"auto"` tells a class without a support row by its text, as the other classes' rows
    say, and favours no class for the number of its rows. The paper publishes none of the values
    below; they are this project's own.

    Where the task has embeddings of a second encoder, the map takes both. The recipe `"auto"` finds
    how much the second ones count.

    Args:
        recipe: `"auto"` for `AutoRecipe()`, `"plain"` for `TrainingRecipe()`, or a recipe with
            values of your own.
        margin: Margin of the triplet loss, in cosine distance.
        triplet_weight: Weight of the triplet loss in the objective.
        alpha: Weight of the mapped images' logits in the fused logits, for the plain recipe; 1
            where it is `None`. `AutoRecipe` sets it itself.
        text: "trained" to train the prototypes with the mapping, as version 3 of the paper does, or
            "frozen" to keep them where they start, as versions 1 and 2 do.
        calibrate: Fit the temperature, which changes probabilities alone and takes as long as
            training does where there are no validation rows. Without it and without these rows the
            recipe cannot ask held-out images how far the texts count.
        contrastive_weight: Weight of the contrastive loss in the objective; the paper has none.

    Raises:
        InputError: If `recipe` or `text` is none of these, or a number is out of range.

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
    reads_in_parts: ClassVar[bool] = True
    uses_also: ClassVar[bool] = True

    def __init__(
        self,
        recipe: TrainingRecipe | Literal["auto", "plain"] = "auto",
        margin: float = 0.1,
        triplet_weight: float = 1.0,
        alpha: float | None = None,
        text: Literal["trained", "frozen"] = "trained",
        calibrate: bool = True,
        contrastive_weight: float = 0.0,
    ) -> None:
        if text not in ("trained", "frozen"):
            raise InputError(f'`text` must be "trained" or "frozen". Received: {text!r}')
        if not isinstance(recipe, TrainingRecipe) and recipe not in _RECIPES:
            raise InputError(
                f'`recipe` must be "auto", "plain" or a `TrainingRecipe`. Received: {recipe!r}'
            )
        is_auto = recipe == "auto" or isinstance(recipe, AutoRecipe)
        if is_auto and alpha is not None:
            raise InputError(
                '`alpha` must be None with the recipe "auto", which sets it by the recipe\'s '
                f"`shot_scale`. Received: alpha={alpha!r}"
            )
        for name, value in (
            ("margin", margin),
            ("triplet_weight", triplet_weight),
            ("alpha", 0.0 if alpha is None else alpha),
            ("contrastive_weight", contrastive_weight),
        ):
            check_number(name, value, ">= 0")
        self.recipe = recipe
        self.margin = margin
        self.triplet_weight = triplet_weight
        self.alpha = alpha
        self.text = text
        self.calibrate = calibrate
        self.contrastive_weight = contrastive_weight

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        recipe = self.recipe if isinstance(self.recipe, TrainingRecipe) else _RECIPES[self.recipe]()
        self.recipe_ = recipe
        self.model_ = self._new_head(task)
        tuning, source = tuning_task(task)
        has_validation = tuning is task
        history = recipe.fit(
            self.model_,
            joined(task.embeddings, task.also_embeddings),
            task.labels,
            validation_data=_validation(task) if has_validation else None,
            seed=task.seed,
            calibrate=self.calibrate,
            compile_arguments={"metrics": None},
            # Validation rows fit the temperature. Their loss after each epoch is of no use here.
            validation_freq=[],
            verbose=0,
        )
        self.temperature_ = self.model_.temperature
        return {
            "recipe": "auto" if isinstance(recipe, AutoRecipe) else "plain",
            **asdict(recipe),
            "learning_rate": history.params["learning_rate"],
            "text_trust": history.params["text_trust"],
            "epochs": history.params["epochs"],
            "margin": self.margin,
            "triplet_weight": float(self.model_.triplet_weight),
            "contrastive_weight": float(self.model_.contrastive_weight),
            "alpha": float(self.model_.alpha),
            "text": self.text,
            "logit_scale": float(self.model_.logit_scale),
            "clip_weight": float(self.model_.clip_weight),
            **self._of_the_second_encoder(),
            "temperature": self.temperature_,
            "temperature_from": source,
            "selection": "fixed",
        }

    def _of_the_second_encoder(self) -> dict[str, object]:
        mapping = self.model_.mapping
        return {"also_weight": float(mapping.also_weight)} if self.model_.also_dim else {}

    def _new_head(self, task: FewShotTask) -> CMMClassifier:
        return CMMClassifier.from_text_embeddings(
            task.text_embeddings,
            triplet_loss=CrossModalTripletLoss(margin=self.margin),
            logit_scale=task.logit_scale,
            train_prototypes=self.text == "trained",
            triplet_weight=self.triplet_weight,
            contrastive_weight=self.contrastive_weight,
            alpha=1.0 if self.alpha is None else self.alpha,
            also_dim=task.also_dim,
        )

    def _logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(self.model_.predict(embeddings, batch_size=_PREDICTION_BATCH, verbose=0))


def joined(
    embeddings: npt.NDArray[np.float32] | LazyRows,
    also_embeddings: npt.NDArray[np.float32] | None,
) -> npt.NDArray[np.float32] | LazyRows:
    """Returns the rows that a head takes: CLIP's embeddings, with those of a second encoder."""
    if also_embeddings is None:
        return embeddings
    return np.concatenate([np.asarray(embeddings), also_embeddings], axis=1)


def _validation(
    task: FewShotTask,
) -> tuple[npt.NDArray[np.float32] | LazyRows, npt.NDArray[np.integer]]:
    assert task.val_embeddings is not None
    assert task.val_labels is not None
    return joined(task.val_embeddings, task.val_also_embeddings), task.val_labels
