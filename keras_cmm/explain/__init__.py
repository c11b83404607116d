"""Why a classifier named a class: a heat map, the nearest training images, texts against images."""

from keras_cmm.explain.decision_shares import DecisionShares
from keras_cmm.explain.explain_image import explain_image
from keras_cmm.explain.explanation import Explanation
from keras_cmm.explain.patch_effects import patch_effects
from keras_cmm.explain.support_image import SupportImage
from keras_cmm.explain.support_images import (
    MOST_SUPPORT_IMAGES,
    SUPPORT_FILE,
    SupportImages,
)

__all__ = [
    "MOST_SUPPORT_IMAGES",
    "SUPPORT_FILE",
    "DecisionShares",
    "Explanation",
    "SupportImage",
    "SupportImages",
    "explain_image",
    "patch_effects",
]
