"""Reading the towers of a transformers config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones import CLIPSettings, TowerSettings, ViTSettings
from keras_cmm.clip.checkpoints.checks import check_choice, check_sizes
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object


def model_type(folder: Path) -> str | None:
    """Returns the `model_type` of a transformers model, or `None` for a folder of another kind.

    Raises:
        InputError: If its `config.json` is damaged.
    """
    path = folder / "config.json"
    kind = read_json_object(path).get("model_type") if path.is_file() else None
    return None if kind is None else str(kind)


def read_section(
    path: Path, config: Mapping[str, Any], name: str, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns a section of a config, with transformers' defaults for what it leaves out.

    Args:
        path: the file, for messages.
        config: its content.
        name: `"vision_config"` or `"text_config"`.
        defaults: the defaults.

    Raises:
        InputError: If the section is no object.
    """
    # Configs of 2021 have a second copy, `text_config_dict`, which transformers prefers.
    sections = [config.get(name) or {}, config.get(f"{name}_dict") or {}]
    if not all(isinstance(section, dict) for section in sections):
        raise InputError(f"{path}: its {name} is not an object; the file is damaged.")
    return {**defaults, **sections[0], **sections[1]}


def read_settings(
    path: Path,
    vision: Mapping[str, Any],
    text: Mapping[str, Any],
    projection_dim: Any,
    activations: Mapping[str, str],
    epsilon: float,
) -> CLIPSettings:
    """Returns the architecture of a model with a vision transformer.

    Args:
        path: the file, for messages.
        vision: the section of the image tower.
        text: the section of the text tower.
        projection_dim: length of the embeddings.
        activations: keras-hub's name of each activation that its towers have.
        epsilon: the epsilon of its layer normalisations. keras-hub has no other.

    Raises:
        InputError: If a setting is none that keras-hub's towers have.
    """
    check_choice(path, "vision_config.num_channels", vision["num_channels"], (3,))
    sizes = {
        **{key: vision[key] for key in ("image_size", "patch_size")},
        **{key: text[key] for key in ("vocab_size", "max_position_embeddings")},
        "projection_dim": projection_dim,
    }
    check_sizes(path, sizes)
    towers = [
        _tower(path, name, section, activations, epsilon)
        for name, section in (("vision_config", vision), ("text_config", text))
    ]
    return CLIPSettings(
        ViTSettings(towers[0], sizes["patch_size"]),
        towers[1],
        image_size=sizes["image_size"],
        vocabulary_size=sizes["vocab_size"],
        context_length=sizes["max_position_embeddings"],
        projection_dim=projection_dim,
    )


def _tower(
    path: Path,
    name: str,
    section: Mapping[str, Any],
    activations: Mapping[str, str],
    epsilon: float,
) -> TowerSettings:
    check_choice(path, f"{name}.hidden_act", section["hidden_act"], tuple(activations))
    check_choice(path, f"{name}.layer_norm_eps", section["layer_norm_eps"], (epsilon,))
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    check_sizes(path, {f"{name}.{key}": section[key] for key in keys})
    width, heads = section["hidden_size"], section["num_attention_heads"]
    if width % heads:
        raise InputError(
            f"{path}: `{name}.hidden_size` must be a multiple of the number of attention heads. "
            f"Received: {width} and {heads}"
        )
    layers, dense_width = section["num_hidden_layers"], section["intermediate_size"]
    return TowerSettings(width, layers, heads, dense_width, activations[section["hidden_act"]])
