"""CLIP: loading models, reading images, embedding images and texts, prompts."""

from keras_cmm.clip.backbones import check_finite_weights, logit_scale, prepare_backbone
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.embedding import (
    EmbeddedImages,
    EmbeddingStore,
    ImageEmbedder,
    JointEmbedder,
    TextEmbedder,
)
from keras_cmm.clip.encoders import Encoder, KerasHubEncoder
from keras_cmm.clip.inputs import PROMPT_TEMPLATES, build_prompts, read_descriptions
from keras_cmm.clip.loading import BUNDLED_PRESETS, load, preset_path
from keras_cmm.clip.presets import make_preprocessor, save_preset
from keras_cmm_runtime.images import ImagePreprocessor, read_image
from keras_cmm_runtime.presets import Preset, known_presets

__all__ = [
    "BUNDLED_PRESETS",
    "PROMPT_TEMPLATES",
    "CLIPModel",
    "EmbeddedImages",
    "EmbeddingStore",
    "Encoder",
    "ImageEmbedder",
    "ImagePreprocessor",
    "JointEmbedder",
    "KerasHubEncoder",
    "Preset",
    "TextEmbedder",
    "build_prompts",
    "check_finite_weights",
    "known_presets",
    "load",
    "logit_scale",
    "make_preprocessor",
    "prepare_backbone",
    "preset_path",
    "read_descriptions",
    "read_image",
    "save_preset",
]
