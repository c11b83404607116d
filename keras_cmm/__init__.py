"""Few-shot image classification with Cross-Modal Mapping on frozen CLIP, for Keras 3.

`import keras_cmm` brings in Keras and registers the layers, the losses and the models, so that
`keras.saving.load_model` finds them. `CMMImageClassifier` is imported at first use, because
keras-hub takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_cmm import models
from keras_cmm.layers import ClassPrototypes, CrossModalMapping
from keras_cmm.losses import CrossModalTripletLoss, SupervisedContrastiveLoss
from keras_cmm.models import CMMClassifier, find_duplicate_groups
from keras_cmm.recipes import AutoRecipe, TrainingRecipe
from keras_cmm_runtime.errors import InputError

if TYPE_CHECKING:
    from keras_cmm.models import CMMImageClassifier

__version__ = "0.1.0"

__all__ = [
    "AutoRecipe",
    "CMMClassifier",
    "CMMImageClassifier",
    "ClassPrototypes",
    "CrossModalMapping",
    "CrossModalTripletLoss",
    "InputError",
    "SupervisedContrastiveLoss",
    "TrainingRecipe",
    "find_duplicate_groups",
]


def __getattr__(name: str) -> Any:
    if name == "CMMImageClassifier":
        return models.CMMImageClassifier
    if name in ("clip", "data", "estimators", "evaluation", "explain", "methods", "report"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
