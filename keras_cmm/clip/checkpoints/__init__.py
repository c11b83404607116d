"""Reading checkpoints of transformers, OpenCLIP and OpenAI into keras-hub backbones."""

from keras_cmm.clip.checkpoints.hub_files import fetch_from_hub, is_hub_id
from keras_cmm.clip.checkpoints.hugging_face import (
    check_model_type,
    is_hugging_face,
    is_image_encoder,
    is_timm,
    load_hugging_face,
)
from keras_cmm.clip.checkpoints.open_clip import CONFIG_FILE, is_plain_clip, load_open_clip
from keras_cmm.clip.checkpoints.state_dict import load_state_dict
from keras_cmm.clip.checkpoints.tower_pairs import find_towers
from keras_cmm.clip.checkpoints.transformers_config import model_type

__all__ = [
    "CONFIG_FILE",
    "check_model_type",
    "fetch_from_hub",
    "find_towers",
    "is_hub_id",
    "is_hugging_face",
    "is_image_encoder",
    "is_plain_clip",
    "is_timm",
    "load_hugging_face",
    "load_open_clip",
    "load_state_dict",
    "model_type",
]
