"""Loading image encoders that timm runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_cmm.clip.checkpoints.image_settings import make_image_converter
from keras_cmm.clip.checkpoints.weight_files import find_weights, read_weights
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.libraries.building import (
    build_without_memory,
    check_tensors,
    refuse_impossible_sizes,
)
from keras_cmm.clip.libraries.library_model import import_library, square_size
from keras_cmm.clip.libraries.torch_backbone import TorchBackbone
from keras_cmm.clip.libraries.torch_image_converter import TorchImageConverter
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object

# Keras's names of timm's filters.
_INTERPOLATIONS = {"nearest": "nearest", "lanczos": "lanczos3"}


def load_timm(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads an image encoder that timm saved, with `config.json` and the weights.

    Args:
        folder: the folder, as `timm.models.push_to_hf_hub` writes it.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.

    Returns:
        A `TorchBackbone` without a text tower, no tokenizer, and a `TorchImageConverter`.

    Raises:
        InputError: If a file is missing or damaged, or timm is not installed.
    """
    resolve_data_config = import_library("timm").data.resolve_data_config
    path = folder / "config.json"
    config = read_json_object(path)
    # Older files have the settings of `pretrained_cfg` beside the name.
    pretrained = config.get("pretrained_cfg", config)
    arguments = dict(config.get("model_args") or {})
    for name in ("pretrained", "num_classes", "checkpoint_path"):
        arguments.pop(name, None)
    if config.get("global_pool") is not None:
        arguments.setdefault("global_pool", config["global_pool"])
    try:
        settings = resolve_data_config({}, pretrained_cfg=dict(pretrained))
        size = square_size(settings["input_size"][1:])
    except (AssertionError, TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: has no image settings that timm takes ({error}).") from error
    architecture = {"model": config["architecture"], "arguments": arguments, "image_size": size}
    tensors = dict(read_weights(find_weights(folder, ("model", "pytorch_model"))))
    classifiers = pretrained.get("classifier") or ()
    for name in [classifiers] if isinstance(classifiers, str) else classifiers:
        for kind in ("weight", "bias"):
            tensors.pop(f"{name}.{kind}", None)
    refuse_impossible_sizes(architecture, tensors, folder)
    check_tensors(build_without_memory("timm", architecture).module, tensors, folder)
    converter = _converter(path, settings, size)
    backbone = TorchBackbone("timm", json.dumps(architecture), dtype=dtype)
    backbone.tower.assign_tensors(tensors)
    return CLIPModel(backbone, None, TorchImageConverter.of(**converter))


def _converter(path: Path, settings: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Returns the image settings of timm's `create_transform` for inference."""
    mode, part = settings.get("crop_mode", "center"), settings.get("crop_pct") or 1.0
    resize_size = math.floor(size / part)
    if mode not in ("center", "squash") or (mode == "squash" and resize_size != size):
        raise InputError(
            f"{path}: its images are cropped by crop_mode={mode!r} with crop_pct={part}; only "
            "'center', or 'squash' with 1.0, can be used."
        )
    name = settings["interpolation"]
    converter = make_image_converter(
        size,
        settings["mean"],
        settings["std"],
        _INTERPOLATIONS.get(name, name),
        mode == "center",
    )
    return {
        "converter": converter,
        "resize_size": resize_size if mode == "center" else None,
        "crop_rounding": "even",
    }
