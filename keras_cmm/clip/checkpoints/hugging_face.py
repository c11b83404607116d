"""CLIP models as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones import (
    ACTIVATIONS,
    CLIPSettings,
    TowerSettings,
    ViTSettings,
    build_backbone,
)
from keras_cmm.clip.checkpoints.checks import check_choice, check_sizes
from keras_cmm.clip.checkpoints.image_settings import read_transformers_image_converter
from keras_cmm.clip.checkpoints.weight_files import find_weights, read_weights
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.inputs import check_tokenizer, read_tokenizer
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object

# What transformers takes for a setting that a config does not have.
_DEFAULTS = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_hidden_layers": 12}
_TEXT_DEFAULTS = _DEFAULTS | {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "eos_token_id": 49407,
}
_VISION_DEFAULTS = _DEFAULTS | {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
}
# The `eos_token_id` of older configs, for any vocabulary. transformers then takes the highest id.
_HIGHEST_ID = 2


IMAGE_MODEL_TYPES = ("dinov2", "dinov2_with_registers", "dinov3_vit")
"""Types of transformers' models that embed images only, and that transformers itself runs."""


def is_timm(folder: Path) -> bool:
    """Returns whether a folder holds a model of timm: its config names an architecture.

    Raises:
        InputError: If its `config.json` is damaged.
    """
    path = folder / "config.json"
    return path.is_file() and isinstance(read_json_object(path).get("architecture"), str)


def model_type(folder: Path) -> str | None:
    """Returns the `model_type` of a transformers model, or `None` for a folder of another kind.

    Raises:
        InputError: If its `config.json` is damaged.
    """
    path = folder / "config.json"
    return read_json_object(path).get("model_type") if path.is_file() else None


def check_model_type(folder: Path) -> None:
    """Raises an error for a transformers model that is neither a CLIP nor a MetaCLIP 2.

    Raises:
        InputError: If the folder holds such a model.
    """
    kind = model_type(folder)
    if kind not in (None, "clip", "metaclip_2", *IMAGE_MODEL_TYPES):
        raise InputError(
            f"{folder}: holds a transformers model of the type {kind!r}; expected 'clip' or "
            "'metaclip_2'."
        )


def load_hugging_face(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads a CLIP model that transformers' `CLIPModel.save_pretrained` wrote.

    Args:
        folder: the folder, with `config.json`, the weights in one file or in shards, the tokenizer
            files and `preprocessor_config.json`. Without the last, OpenAI's image settings are
            used, with a warning.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.

    Returns:
        Backbone, tokenizer and image converter.

    Raises:
        InputError: If a file is missing or damaged, or keras-hub's CLIP cannot be built like the
            model.

    References:
        https://github.com/huggingface/transformers, models/clip.
    """
    path = folder / "config.json"
    settings, end_token_id = _settings(path, read_json_object(path))
    # The weights are large, so they are read last.
    weights_file = find_weights(folder, ("model", "pytorch_model"))
    tokenizer = read_tokenizer(folder)
    check_tokenizer(tokenizer, settings.vocabulary_size, folder)
    if end_token_id not in (_HIGHEST_ID, tokenizer.end_token_id):
        raise InputError(
            f"{path}: has text_config.eos_token_id={end_token_id}, but its tokenizer ends texts "
            f"with {tokenizer.end_token_id}; they do not belong together."
        )
    converter = read_transformers_image_converter(folder, settings.image_size)
    backbone = build_backbone(settings, read_weights(weights_file), folder, dtype)
    return CLIPModel(backbone, tokenizer, converter)


def _settings(path: Path, config: dict[str, Any]) -> tuple[CLIPSettings, int]:
    vision = _section(path, config, "vision_config", _VISION_DEFAULTS)
    text = _section(path, config, "text_config", _TEXT_DEFAULTS)
    check_choice(path, "vision_config.num_channels", vision["num_channels"], (3,))
    sizes = {
        **{key: vision[key] for key in ("image_size", "patch_size")},
        **{key: text[key] for key in ("vocab_size", "max_position_embeddings")},
        "projection_dim": config.get("projection_dim", 512),
    }
    check_sizes(path, sizes)
    settings = CLIPSettings(
        ViTSettings(_tower(path, "vision_config", vision), sizes["patch_size"]),
        _tower(path, "text_config", text),
        image_size=sizes["image_size"],
        vocabulary_size=sizes["vocab_size"],
        context_length=sizes["max_position_embeddings"],
        projection_dim=sizes["projection_dim"],
    )
    return settings, text["eos_token_id"]


def _section(
    path: Path, config: dict[str, Any], name: str, defaults: dict[str, Any]
) -> dict[str, Any]:
    # Configs of 2021 have a second copy, `text_config_dict`, which transformers prefers.
    sections = [config.get(name) or {}, config.get(f"{name}_dict") or {}]
    if not all(isinstance(section, dict) for section in sections):
        raise InputError(f"{path}: its {name} is not an object; the file is damaged.")
    return defaults | sections[0] | sections[1]


def _tower(path: Path, name: str, section: dict[str, Any]) -> TowerSettings:
    check_choice(path, f"{name}.hidden_act", section["hidden_act"], ACTIVATIONS)
    # keras-hub's CLIP has no other.
    check_choice(path, f"{name}.layer_norm_eps", section["layer_norm_eps"], (1e-5,))
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    check_sizes(path, {f"{name}.{key}": section[key] for key in keys})
    width, heads = section["hidden_size"], section["num_attention_heads"]
    if width % heads:
        raise InputError(
            f"{path}: `{name}.hidden_size` must be a multiple of the number of attention heads. "
            f"Received: {width} and {heads}"
        )
    return TowerSettings(*(section[key] for key in (*keys, "hidden_act")))
