"""CLIP and MetaCLIP 2 as transformers saves them. Their configs differ only in defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones import ACTIVATIONS, CLIPSettings, build_backbone, build_metaclip_2
from keras_cmm.clip.checkpoints.checks import check_choice
from keras_cmm.clip.checkpoints.image_settings import read_transformers_image_converter
from keras_cmm.clip.checkpoints.transformers_config import read_section, read_settings
from keras_cmm.clip.checkpoints.weight_files import find_weights, read_weights
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.inputs import check_tokenizer, read_metaclip_2_tokenizer, read_tokenizer
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object

# What transformers takes for a setting that a config does not have.
_DEFAULTS = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_hidden_layers": 12}
TEXT_DEFAULTS = _DEFAULTS | {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "eos_token_id": 49407,
}
VISION_DEFAULTS = _DEFAULTS | {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
}
# The `eos_token_id` of older configs, for any vocabulary. transformers then takes the highest id.
_HIGHEST_ID = 2
_META_CLIP_2_END = 2  # keras-hub's MetaCLIP 2 has no other


def load_clip(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads what transformers' `CLIPModel.save_pretrained` wrote; see `load_hugging_face`.

    References:
        https://github.com/huggingface/transformers, models/clip.
    """
    path = folder / "config.json"
    settings, end_token_id = _settings(path)
    # The weights are large, so they are read last.
    weights_file = find_weights(folder, ("model", "pytorch_model"))
    tokenizer = read_clip_tokenizer(folder, settings.vocabulary_size, path, end_token_id)
    converter = read_transformers_image_converter(folder, settings.image_size)
    backbone = build_backbone(settings, read_weights(weights_file), folder, dtype)
    return CLIPModel(backbone, tokenizer, converter)


def load_metaclip_2(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads what transformers' `MetaClip2Model.save_pretrained` wrote; see `load_hugging_face`.

    References:
        https://github.com/huggingface/transformers, models/metaclip_2.
    """
    path = folder / "config.json"
    settings, end_token_id = _settings(path)
    check_choice(path, "text_config.eos_token_id", end_token_id, (_META_CLIP_2_END,))
    weights_file = find_weights(folder, ("model", "pytorch_model"))
    tokenizer = read_metaclip_2_tokenizer(folder)
    check_tokenizer(tokenizer, settings.vocabulary_size, folder)
    converter = read_transformers_image_converter(folder, settings.image_size, "MetaCLIP2")
    backbone = build_metaclip_2(settings, read_weights(weights_file), folder, dtype)
    return CLIPModel(backbone, tokenizer, converter)


def read_clip_tokenizer(folder: Path, vocabulary_size: int, config: Path, end_token_id: Any) -> Any:
    """Reads CLIP's tokenizer from a folder, and checks that it belongs to the model.

    Args:
        folder: the folder of its files.
        vocabulary_size: int. Number of tokens that the model embeds.
        config: the config of the model, for messages.
        end_token_id: `eos_token_id` of the config.

    Returns:
        A `keras_hub.models.CLIPTokenizer`.

    Raises:
        InputError: If it does not.
    """
    tokenizer = read_tokenizer(folder)
    check_tokenizer(tokenizer, vocabulary_size, folder)
    if end_token_id not in (_HIGHEST_ID, tokenizer.end_token_id):
        raise InputError(
            f"{config}: has text_config.eos_token_id={end_token_id}, but its tokenizer ends texts "
            f"with {tokenizer.end_token_id}; they do not belong together."
        )
    return tokenizer


def _settings(path: Path) -> tuple[CLIPSettings, Any]:
    config = read_json_object(path)
    vision = read_section(path, config, "vision_config", VISION_DEFAULTS)
    text = read_section(path, config, "text_config", TEXT_DEFAULTS)
    settings = read_settings(
        path,
        vision,
        text,
        config.get("projection_dim", 512),
        {name: name for name in ACTIVATIONS},
        1e-5,
    )
    return settings, text["eos_token_id"]
