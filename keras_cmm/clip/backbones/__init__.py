"""CLIP's image and text towers in keras-hub: how they are built, and how they are run.

`ResNetVisionEncoder` is imported from its own module, because it needs keras-hub at once.
"""

from keras_cmm.clip.backbones.building import build_backbone
from keras_cmm.clip.backbones.digest import ModelDigest
from keras_cmm.clip.backbones.encoders import (
    DTYPES,
    TextEncoder,
    VisionEncoder,
    same_weights,
    torch_weights,
)
from keras_cmm.clip.backbones.finite_weights import check_finite_weights
from keras_cmm.clip.backbones.inference import (
    as_unit_rows,
    inference_mode,
    runs_on_cpu,
    runs_on_cuda,
)
from keras_cmm.clip.backbones.interface import logit_scale, prepare_backbone
from keras_cmm.clip.backbones.metaclip_2 import build_metaclip_2
from keras_cmm.clip.backbones.settings import (
    ACTIVATIONS,
    CLIPSettings,
    ResNetSettings,
    TowerSettings,
    ViTSettings,
)
from keras_cmm.clip.backbones.siglip import build_siglip
from keras_cmm.clip.backbones.weight_assignment import Weights

__all__ = [
    "ACTIVATIONS",
    "DTYPES",
    "CLIPSettings",
    "ModelDigest",
    "ResNetSettings",
    "TextEncoder",
    "TowerSettings",
    "ViTSettings",
    "VisionEncoder",
    "Weights",
    "as_unit_rows",
    "build_backbone",
    "build_metaclip_2",
    "build_siglip",
    "check_finite_weights",
    "inference_mode",
    "logit_scale",
    "prepare_backbone",
    "runs_on_cpu",
    "runs_on_cuda",
    "same_weights",
    "torch_weights",
]
