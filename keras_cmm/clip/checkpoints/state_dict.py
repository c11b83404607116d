"""CLIP models in one file of tensors, without a config."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones import (
    ACTIVATIONS,
    CLIPSettings,
    ResNetSettings,
    TowerSettings,
    ViTSettings,
    Weights,
    build_backbone,
)
from keras_cmm.clip.checkpoints.image_settings import make_image_converter
from keras_cmm.clip.checkpoints.open_clip import CONFIG_FILE, load_open_clip
from keras_cmm.clip.checkpoints.open_clip_models import models_of_sizes, open_clip_settings
from keras_cmm.clip.checkpoints.openai_names import has_resnet_tower, with_transformers_names
from keras_cmm.clip.checkpoints.weight_files import read_weights
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.inputs import openai_tokenizer
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.warn import warn

# OpenAI's files hold these three numbers. OpenCLIP's and those of its users do not.
_OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")
_HEAD_DIM = 64
# Up to this width all plain models of OpenAI and OpenCLIP have heads of 64. Wider ones have other
# heads, though 64 divides their widths too.
_MAX_WIDTH = 1024
_RESNET_STRIDE = 32  # pixels for each position of the last feature map


def load_state_dict(
    path: Path,
    dtype: Any = None,
    open_clip_model: str | None = None,
    activation: str | None = None,
) -> CLIPModel:
    """Loads a CLIP model from a file of tensors under OpenAI's names.

    The tensors show the sizes, but neither the activation nor the number of heads. OpenAI's own
    files can be recognised. For other files, the folder has the model's `open_clip_config.json`, or
    an argument tells what the model is. The image settings are then OpenAI's, with a warning.

    Args:
        path: a `.safetensors` file or a pickled state dict.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.
        open_clip_model: OpenCLIP's name of the model, such as `"ViT-B-32"`.
        activation: `"gelu"` or `"quick_gelu"`, for a model with heads of 64, as OpenAI's and
            OpenCLIP's models up to a width of 1024.

    Returns:
        Backbone, tokenizer and image converter.

    Raises:
        InputError: If the file cannot be read, belongs to another model, or does not say what its
            model is and no argument does.

    References:
        https://github.com/openai/CLIP, clip/model.py, `build_model`.
    """
    if open_clip_model is not None and activation is not None:
        raise InputError(
            "`open_clip_model` says the activation too; leave out `activation`. Received: "
            f"{open_clip_model=}, {activation=}"
        )
    if activation is not None and activation not in ACTIVATIONS:
        raise InputError(
            f"`activation` must be one of {', '.join(ACTIVATIONS)}. Received: {activation=}"
        )
    is_told = open_clip_model is not None or activation is not None
    if (path.parent / CONFIG_FILE).is_file():
        if is_told:
            raise InputError(
                f"{path}: the {CONFIG_FILE} in its folder says what the model is; leave out "
                "`open_clip_model` and `activation`, or move one of the files."
            )
        return load_open_clip(path.parent, dtype, path)
    weights = read_weights(path)
    try:
        settings = _settings(weights, open_clip_model, activation)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    backbone = build_backbone(settings, with_transformers_names(weights), path, dtype)
    if is_told and not _is_of_openai(weights):
        warn(
            f"{path}: does not say its image settings, so OpenAI's mean and deviation, bicubic "
            f"resizing and cropping are used; if the model had others, put its {CONFIG_FILE} into "
            "the folder instead."
        )
    return CLIPModel(backbone, openai_tokenizer(), make_image_converter(settings.image_size))


def _settings(
    weights: Weights, open_clip_model: str | None, activation: str | None
) -> CLIPSettings:
    _refuse_transformers(weights)
    told = None
    if open_clip_model is not None:
        told = open_clip_settings(open_clip_model)
    elif activation is not None:
        told = _with_heads_of_64(_settings_of_shapes(weights, activation))
    if _is_of_openai(weights):
        settings = _with_heads_of_64(_settings_of_shapes(weights, "quick_gelu"))
        _check_openai_numbers(weights, settings)
        if told not in (None, settings):
            raise InputError(
                "is one of OpenAI's files, which say what they are; leave out `open_clip_model` "
                f"and `activation`. Received: {open_clip_model or activation!r}"
            )
        return settings
    if told is None:
        raise InputError(_unknown_model(_settings_of_shapes(weights, "gelu")))
    return told


def _unknown_model(settings: CLIPSettings) -> str:
    names = models_of_sizes(settings)
    sizes = f" (its sizes are those of {' and '.join(names)})" if names else ""
    example = names[0] if names else "ViT-B-32"
    return (
        f"does not say its activation and its number of heads{sizes}; put its {CONFIG_FILE} into "
        "the folder, or name the model, as in `keras-cmm convert FILE PRESET --open-clip-model "
        f'{example}` or `keras_cmm.clip.load(FILE, open_clip_model="{example}")`.'
    )


def _check_openai_numbers(weights: Weights, settings: CLIPSettings) -> None:
    sizes = (settings.image_size, settings.context_length, settings.vocabulary_size)
    for name, size in zip(_OPENAI_NUMBERS, sizes, strict=True):
        number = weights[name]
        if number.numel() != 1 or number.item() != size:
            raise InputError(
                f"its {name} is {number.tolist()}, but its tensors are those of {size}; the file "
                "is damaged."
            )


def _with_heads_of_64(settings: CLIPSettings) -> CLIPSettings:
    vision = [settings.vision.tower] if isinstance(settings.vision, ViTSettings) else []
    for tower in (*vision, settings.text):
        if tower.hidden_dim % _HEAD_DIM or tower.hidden_dim > _MAX_WIDTH:
            raise InputError(
                f"has a tower of width {tower.hidden_dim}, which does not have heads of "
                f"{_HEAD_DIM}, as OpenAI's models have; name the model (`open_clip_model`), or put "
                f"its {CONFIG_FILE} into the folder."
            )
    return settings


def _is_of_openai(weights: Weights) -> bool:
    return all(name in weights for name in _OPENAI_NUMBERS)


def _refuse_transformers(weights: Weights) -> None:
    if any(name.startswith("vision_model.") for name in weights):
        raise InputError(
            "has the tensors of transformers; give its folder, which has config and tokenizer too."
        )


def _settings_of_shapes(weights: Weights, activation: str) -> CLIPSettings:
    context_length, text_width = _shape(weights, "positional_embedding", 2)
    if has_resnet_tower(weights):
        positions, _ = _shape(weights, "visual.attnpool.positional_embedding", 2)
        patch_size = _RESNET_STRIDE
        vision: ViTSettings | ResNetSettings = ResNetSettings(
            tuple(_count(weights, f"visual.layer{stage}") for stage in (1, 2, 3, 4)),
            _shape(weights, "visual.layer1.0.conv1.weight", 4)[0],
            _HEAD_DIM,
        )
    else:
        positions, _ = _shape(weights, "visual.positional_embedding", 2)
        width, _, patch_size, _ = _shape(weights, "visual.conv1.weight", 4)
        tower = _tower_of_shapes(weights, "visual.transformer", width, activation)
        vision = ViTSettings(tower, patch_size)
    return CLIPSettings(
        vision,
        _tower_of_shapes(weights, "transformer", text_width, activation),
        # One of the positions belongs to the class token, or to the mean that a ResNet pools by.
        image_size=patch_size * max(1, math.isqrt(positions - 1)),
        vocabulary_size=_shape(weights, "token_embedding.weight", 2)[0],
        context_length=context_length,
        projection_dim=_shape(weights, "text_projection", 2)[1],
    )


def _tower_of_shapes(weights: Weights, name: str, width: int, activation: str) -> TowerSettings:
    dense_width, _ = _shape(weights, f"{name}.resblocks.0.mlp.c_fc.weight", 2)
    blocks = _count(weights, f"{name}.resblocks")
    return TowerSettings(width, blocks, width // _HEAD_DIM, dense_width, activation)


def _count(weights: Weights, name: str) -> int:
    """Returns how many numbered parts a part of the model has."""
    prefix = f"{name}."
    parts = [key.removeprefix(prefix) for key in weights if key.startswith(prefix)]
    return len({part.partition(".")[0] for part in parts})


def _shape(weights: Weights, name: str, rank: int) -> tuple[int, ...]:
    shape = tuple(weights[name].shape) if name in weights else ()
    if len(shape) != rank or 0 in shape:
        raise InputError(
            f"is not the state dict of a CLIP model: it has no tensor {name!r} of {rank} axes."
        )
    return shape
