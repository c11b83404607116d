"""Loading CLIP models."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.errors import InputError

_ASSETS = Path(__file__).parent.parent / "assets"
BUNDLED_PRESETS = {"emoji_clip_tiny": _ASSETS / "emoji_clip_tiny"}
"""Presets inside this package, by name."""


def preset_path(source: str | os.PathLike[str]) -> str:
    """Returns what keras-hub should load for `source`: the folder of a bundled preset, or itself.

    Args:
        source: a bundled or keras-hub preset name, a `kaggle://` or `hf://` handle, or a folder.

    Returns:
        A path, name or handle.

    Raises:
        InputError: If it is a folder that holds no preset.

    Example:
        >>> preset_path("clip_vit_base_patch16")
        'clip_vit_base_patch16'
    """
    name = os.fspath(source)
    if name in BUNDLED_PRESETS:
        return str(BUNDLED_PRESETS[name])
    if Path(name).is_dir() and not Path(name, "config.json").is_file():
        raise InputError(f"{name}: is no keras-hub preset, it has no config.json.")
    return name


def load(source: str | os.PathLike[str], dtype: Any = None) -> CLIPModel:
    """Loads a CLIP model from a preset.

    Args:
        source: a preset bundled with this package (`"emoji_clip_tiny"`), a keras-hub preset name
            (`"clip_vit_base_patch16"`), a `kaggle://` or `hf://` handle, or a preset folder.
        dtype: dtype or dtype policy of the backbone, such as `"bfloat16"`. `None` keeps Keras's.

    Returns:
        Backbone, tokenizer and image converter.

    Raises:
        InputError: If there is no such preset, it cannot be fetched, or it is not of a CLIP model.

    Example:
        >>> from keras_cmm import clip
        >>> model = clip.load("emoji_clip_tiny")  # doctest: +SKIP
        >>> model.backbone.projection_dim  # doctest: +SKIP
        192
    """
    preset = preset_path(source)
    import keras_hub

    hide_gpus_from_tensorflow()
    try:
        backbone = keras_hub.models.Backbone.from_preset(preset, dtype=dtype)
        tokenizer = keras_hub.models.Tokenizer.from_preset(preset)
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    # What goes wrong is keras-hub's, kagglehub's or the network's, each with errors of its own.
    except Exception as error:
        raise InputError(
            f"the preset {os.fspath(source)!r} cannot be loaded ({_reason(error)}); give a bundled "
            f"preset ({', '.join(BUNDLED_PRESETS)}), a keras-hub preset that can be downloaded, or "
            "a preset folder."
        ) from error
    if not isinstance(backbone, keras_hub.models.CLIPBackbone):
        raise InputError(
            f"the preset {os.fspath(source)!r} is a {type(backbone).__name__}, not a CLIPBackbone."
        )
    return CLIPModel(backbone, tokenizer, converter)


def hide_gpus_from_tensorflow() -> None:
    """Keeps TensorFlow off the GPUs where it is not the backend.

    keras-hub uses it for texts on every backend, and it would take all of a GPU's memory.
    """
    if keras.backend.backend() == "tensorflow" or "tensorflow" not in sys.modules:
        return
    # It may be in use already, and then there is nothing to hide any more.
    with contextlib.suppress(RuntimeError):
        sys.modules["tensorflow"].config.set_visible_devices([], "GPU")


def logit_scale(backbone: Any) -> float:
    """Returns what a CLIP backbone multiplies cosine similarities by, about 100 for OpenAI's.

    Args:
        backbone: a `keras_hub.models.CLIPBackbone`.

    Returns:
        The scale; the backbone stores its logarithm.
    """
    return float(np.exp(ops.convert_to_numpy(backbone.clip_head.logit_scale)))


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if type(error).__name__ == "ConnectionError":  # requests' and httpx's, pages long
        return "there is no connection to its hub"
    if lines[0].startswith("Unknown preset identifier"):
        return "there is no preset of that name and no such folder"
    return lines[0]
