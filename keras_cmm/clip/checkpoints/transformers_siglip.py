"""SigLIP, and SigLIP 2 of one image size, as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones import CLIPSettings, build_siglip
from keras_cmm.clip.checkpoints.checks import check_choice
from keras_cmm.clip.checkpoints.image_settings import read_transformers_image_converter
from keras_cmm.clip.checkpoints.transformers_config import read_section, read_settings
from keras_cmm.clip.checkpoints.weight_files import find_weights, read_weights
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.inputs import check_tokenizer, read_siglip_tokenizer
from keras_cmm_runtime.utils.files import read_json_object

# What transformers takes for a setting that a config does not have.
_DEFAULTS = {
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-6,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
}
_TEXT_DEFAULTS = _DEFAULTS | {"max_position_embeddings": 64, "vocab_size": 32000}
_VISION_DEFAULTS = _DEFAULTS | {
    "image_size": 224,
    "num_channels": 3,
    "patch_size": 16,
    "vision_use_head": True,
}
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_approximate", "gelu": "gelu"}
# How SigLIP was trained. A tokenizer that does otherwise makes other token ids than we do.
_TOKENIZER_SETTINGS = {
    "add_bos_token": False,
    "add_eos_token": True,
    "do_lower_case": True,
    "padding_side": "right",
}


def load_siglip(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads what transformers' `SiglipModel.save_pretrained` wrote; see `load_hugging_face`.

    References:
        https://github.com/huggingface/transformers, models/siglip.
    """
    settings = _settings(folder / "config.json")
    # The weights are large, so they are read last.
    weights_file = find_weights(folder, ("model", "pytorch_model"))
    _check_tokenizer_settings(folder / "tokenizer_config.json")
    tokenizer = read_siglip_tokenizer(folder)
    check_tokenizer(tokenizer, settings.vocabulary_size, folder)
    converter = read_transformers_image_converter(folder, settings.image_size, "SigLIP")
    backbone = build_siglip(settings, read_weights(weights_file), folder, dtype)
    return CLIPModel(backbone, tokenizer, converter)


def _settings(path: Path) -> CLIPSettings:
    config = read_json_object(path)
    vision = read_section(path, config, "vision_config", _VISION_DEFAULTS)
    text = read_section(path, config, "text_config", _TEXT_DEFAULTS)
    check_choice(path, "vision_config.vision_use_head", vision["vision_use_head"], (True,))
    length = text.get("projection_size")
    return read_settings(
        path, vision, text, text["hidden_size"] if length is None else length, _ACTIVATIONS, 1e-6
    )


def _check_tokenizer_settings(path: Path) -> None:
    settings = read_json_object(path) if path.is_file() else {}
    for name, expected in _TOKENIZER_SETTINGS.items():
        value = settings.get(name)
        check_choice(path, name, expected if value is None else value, (expected,))
