"""Few-shot classifiers: on embeddings (`CMMClassifier`) and on images (`CMMImageClassifier`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from keras_cmm.models.cmm_classifier import CMMClassifier
from keras_cmm.models.duplicate_prototypes import find_duplicate_groups
from keras_cmm.models.saved_class_names import saved_class_names

if TYPE_CHECKING:
    from keras_cmm.models.cmm_image_classifier import CMMImageClassifier

__all__ = ["CMMClassifier", "CMMImageClassifier", "find_duplicate_groups", "saved_class_names"]


class _AtFirstUse:
    """Stands in for an image model, until Keras loads one or its module is imported."""

    def __init__(self, name: str) -> None:
        self._name = name

    def from_config(self, config: dict[str, Any]) -> Any:
        from keras_cmm.models import cmm_image_classifier

        return getattr(cmm_image_classifier, self._name).from_config(config)


for _name in (
    "CMMImageClassifier",
    "_SigLIPCMMImageClassifier",
    "_MetaCLIP2CMMImageClassifier",
):
    keras.saving.get_custom_objects().setdefault(f"keras_cmm>{_name}", _AtFirstUse(_name))


def __getattr__(name: str) -> Any:
    # keras-hub brings in TensorFlow: 15 s that only image models need to wait for.
    if name == "CMMImageClassifier":
        from keras_cmm.models.cmm_image_classifier import CMMImageClassifier

        return CMMImageClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
