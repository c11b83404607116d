"""CLIP as two towers, each saved by transformers in a folder of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones import ACTIVATIONS, Weights, build_backbone
from keras_cmm.clip.checkpoints.image_settings import (
    IMAGE_PROCESSOR_FILES,
    read_transformers_image_converter,
)
from keras_cmm.clip.checkpoints.transformers_clip import (
    TEXT_DEFAULTS,
    VISION_DEFAULTS,
    read_clip_tokenizer,
)
from keras_cmm.clip.checkpoints.transformers_config import model_type, read_settings
from keras_cmm.clip.checkpoints.weight_files import find_weights, read_weights
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object
from keras_cmm_runtime.utils.warn import warn

# Folders of the image tower and of the text tower. diffusers has the second pair of names.
TOWER_FOLDERS = (("vision", "text"), ("image_encoder", "text_encoder"))
_VISION_TYPE, _TEXT_TYPE = "clip_vision_model", "clip_text_model"
_PROCESSOR_FOLDERS = ("image_processor", "feature_extractor")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
# OpenAI's models were trained until the scale of the cosines was 100, its highest.
_LOGIT_SCALE = 100.0


def find_towers(folder: Path) -> tuple[Path, Path] | None:
    """Returns the folders of image tower and text tower, or `None` if a folder holds no pair.

    Args:
        folder: the folder of both.
    """
    for names in TOWER_FOLDERS:
        vision, text = (folder / name for name in names)
        if (vision / "config.json").is_file() and (text / "config.json").is_file():
            return vision, text
    return None


def load_tower_pair(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads a `CLIPVisionModelWithProjection` and the `CLIPTextModelWithProjection` beside it.

    Args:
        folder: the folder, with `vision` and `text`, or as diffusers writes it with `image_encoder`
            and `text_encoder`. The tokenizer lies in the folder of the text tower, in `tokenizer`
            or in the folder itself, and `preprocessor_config.json` in that of the image tower, in
            `image_processor` or `feature_extractor`, or in the folder itself.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.

    Returns:
        Backbone, tokenizer and image converter. Towers have no logit scale, so it is 100, as in
        OpenAI's models, with a warning.

    Raises:
        InputError: If a file is missing or damaged, or the towers do not belong together.
    """
    towers = find_towers(folder)
    if towers is None:
        raise InputError(f"{folder}: holds no image tower and text tower.")
    vision_folder, text_folder = towers
    vision = _config(vision_folder, _VISION_TYPE, VISION_DEFAULTS)
    text = _config(text_folder, _TEXT_TYPE, TEXT_DEFAULTS)
    lengths = [section.get("projection_dim", 512) for section in (vision, text)]
    if lengths[0] != lengths[1]:
        raise InputError(
            f"{folder}: the towers make embeddings of the lengths {lengths[0]} and {lengths[1]}; "
            "they do not belong together."
        )
    activations = {name: name for name in ACTIVATIONS}
    settings = read_settings(folder, vision, text, lengths[0], activations, 1e-5)
    files = [find_weights(tower, ("model", "pytorch_model")) for tower in towers]
    tokenizer = read_clip_tokenizer(
        _first_with(_TOKENIZER_FILES, text_folder, folder / "tokenizer", folder),
        settings.vocabulary_size,
        text_folder / "config.json",
        text["eos_token_id"],
    )
    places = (vision_folder, *(folder / name for name in _PROCESSOR_FOLDERS), folder)
    converter = read_transformers_image_converter(
        _first_with(IMAGE_PROCESSOR_FILES, *places), settings.image_size
    )
    weights = _weights(files[0], "visual_projection.weight", "CLIPVisionModelWithProjection")
    weights |= _weights(files[1], "text_projection.weight", "CLIPTextModelWithProjection")
    if "logit_scale" not in weights:
        weights["logit_scale"] = _logit_scale(folder)
    return CLIPModel(build_backbone(settings, weights, folder, dtype), tokenizer, converter)


def _config(folder: Path, kind: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    found = model_type(folder)
    if found != kind:
        raise InputError(
            f"{folder}: must hold a transformers model of the type {kind!r}. Received: {found!r}"
        )
    return {**defaults, **read_json_object(folder / "config.json")}


def _weights(file: Path, projection: str, kind: str) -> dict[str, Any]:
    weights: Weights = read_weights(file)
    if projection not in weights:
        raise InputError(
            f"{file}: has no {projection}, so its embeddings lie in no space of images and texts; "
            f"save the tower as a {kind}."
        )
    return dict(weights)


def _first_with(files: tuple[str, ...], *folders: Path) -> Path:
    """Returns the first folder that has one of the files, else the first folder."""
    found = (folder for folder in folders if any((folder / file).is_file() for file in files))
    return next(found, folders[0])


def _logit_scale(folder: Path) -> Any:
    import torch

    warn(
        f"{folder}: two towers have no logit scale, so it is {_LOGIT_SCALE:g}, as in OpenAI's "
        "models; give a folder of a whole CLIPModel if yours has another."
    )
    return torch.tensor(math.log(_LOGIT_SCALE))
