"""Few-shot classifiers: on embeddings (`CMMClassifier`) and on images (`CMMImageClassifier`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_cmm.models.auto_recipe import AutoRecipe
from keras_cmm.models.cmm_classifier import CMMClassifier
from keras_cmm.models.duplicate_prototypes import find_duplicate_groups
from keras_cmm.models.shuffled_batches import ShuffledBatches
from keras_cmm.models.temperature import calibrated_temperature, fit_temperature, held_out_rows
from keras_cmm.models.training_recipe import TrainingRecipe

if TYPE_CHECKING:
    from keras_cmm.models.cmm_image_classifier import CMMImageClassifier

__all__ = [
    "AutoRecipe",
    "CMMClassifier",
    "CMMImageClassifier",
    "ShuffledBatches",
    "TrainingRecipe",
    "calibrated_temperature",
    "find_duplicate_groups",
    "fit_temperature",
    "held_out_rows",
]


def __getattr__(name: str) -> Any:
    # keras-hub brings in TensorFlow: 15 s that only image models need to wait for.
    if name == "CMMImageClassifier":
        from keras_cmm.models.cmm_image_classifier import CMMImageClassifier

        return CMMImageClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
