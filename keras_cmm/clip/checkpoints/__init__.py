"""Reading CLIP checkpoints of transformers, OpenCLIP and OpenAI into keras-hub backbones."""

from keras_cmm.clip.checkpoints.hub_files import fetch_from_hub, is_hub_id
from keras_cmm.clip.checkpoints.hugging_face import (
    IMAGE_MODEL_TYPES,
    check_model_type,
    is_timm,
    load_hugging_face,
    model_type,
)
from keras_cmm.clip.checkpoints.open_clip import CONFIG_FILE, is_plain_clip, load_open_clip
from keras_cmm.clip.checkpoints.state_dict import load_state_dict

__all__ = [
    "CONFIG_FILE",
    "IMAGE_MODEL_TYPES",
    "check_model_type",
    "fetch_from_hub",
    "is_hub_id",
    "is_plain_clip",
    "is_timm",
    "load_hugging_face",
    "load_open_clip",
    "load_state_dict",
    "model_type",
]
