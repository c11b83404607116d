"""CLIP models as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones.vit import (
    ACTIVATIONS,
    TowerSettings,
    ViTSettings,
    build_vit_backbone,
)
from keras_cmm.clip.checkpoints.image_settings import read_transformers_image_converter
from keras_cmm.clip.checkpoints.weight_files import find_weights, read_weights
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.inputs.bpe_tokenizer import read_tokenizer
from keras_cmm.errors import InputError
from keras_cmm.utils.files import read_json_object

# What transformers takes where a config says nothing.
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
# Older configs have this number whatever the vocabulary; transformers then takes the highest id.
_HIGHEST_ID = 2


def model_type(folder: Path) -> str | None:
    """Returns what transformers calls the model in a folder, or `None` if it is not transformers'.

    Raises:
        InputError: If its `config.json` is damaged.
    """
    path = folder / "config.json"
    return read_json_object(path).get("model_type") if path.is_file() else None


def check_model_type(folder: Path) -> None:
    """Refuses a model of transformers that neither this package nor keras-hub can load as a CLIP.

    Raises:
        InputError: If it is one.
    """
    kind = model_type(folder)
    if kind not in (None, "clip", "metaclip_2"):
        raise InputError(
            f"{folder}: is a model of transformers of the type {kind!r}; expected 'clip' or "
            "'metaclip_2'."
        )


def load_hugging_face(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads a CLIP model that transformers' `CLIPModel.save_pretrained` wrote.

    Args:
        folder: the folder, with `config.json`, weights in one file or in shards, tokenizer files
            and `preprocessor_config.json`; without the last, OpenAI's settings are taken.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.

    Returns:
        Backbone, tokenizer and image converter.

    Raises:
        InputError: If a file is missing, damaged, or describes what keras-hub's CLIP cannot be.

    References:
        https://github.com/huggingface/transformers, models/clip.
    """
    path = folder / "config.json"
    config = read_json_object(path)
    settings, end_token_id = _settings(path, config)
    # First what is small and may be wrong.
    weights_file = find_weights(folder, ("model", "pytorch_model"))
    tokenizer = read_tokenizer(folder)
    if tokenizer.vocabulary_size() > settings.vocabulary_size:
        raise InputError(
            f"{folder}: its tokenizer has {tokenizer.vocabulary_size()} tokens, its model only "
            f"{settings.vocabulary_size}; they do not belong together."
        )
    if end_token_id not in (_HIGHEST_ID, tokenizer.end_token_id):
        raise InputError(
            f"{path}: has text_config.eos_token_id={end_token_id}, where its tokenizer ends texts "
            f"with {tokenizer.end_token_id}; they do not belong together."
        )
    converter = read_transformers_image_converter(folder, settings.image_size)
    try:
        backbone = build_vit_backbone(settings, read_weights(weights_file), dtype)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return CLIPModel(backbone, tokenizer, converter)


def _settings(path: Path, config: dict[str, Any]) -> tuple[ViTSettings, int]:
    vision = _section(path, config, "vision_config", _VISION_DEFAULTS)
    text = _section(path, config, "text_config", _TEXT_DEFAULTS)
    if vision["num_channels"] != 3:
        raise InputError(f"{path}: has images of {vision['num_channels']} channels; expected 3.")
    projection_dim = config.get("projection_dim", 512)
    sizes = [
        *(vision[name] for name in ("image_size", "patch_size")),
        *(text[name] for name in ("vocab_size", "max_position_embeddings")),
        projection_dim,
    ]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise InputError(f"{path}: has sizes that are no whole numbers >= 1: {sizes}.")
    settings = ViTSettings(
        _tower(path, "vision_config", vision), _tower(path, "text_config", text), *sizes
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
    if section["hidden_act"] not in ACTIVATIONS:
        raise InputError(
            f"{path}: has {name}.hidden_act={section['hidden_act']!r}; expected one of "
            f"{ACTIVATIONS}."
        )
    if section["layer_norm_eps"] != 1e-5:
        raise InputError(
            f"{path}: has {name}.layer_norm_eps={section['layer_norm_eps']!r}; keras-hub's CLIP "
            "has 1e-05."
        )
    width, layers, heads, dense_width = (
        section[key]
        for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    )
    sizes = (width, layers, heads, dense_width)
    if not all(isinstance(size, int) and size > 0 for size in sizes) or width % heads:
        raise InputError(
            f"{path}: {name} must have whole numbers >= 1 for width, layers, heads and dense "
            f"width, the width a multiple of the heads. Received: {sizes}"
        )
    return TowerSettings(width, layers, heads, dense_width, section["hidden_act"])
