"""The plain CLIP models of OpenCLIP, by name."""

from __future__ import annotations

import difflib
import functools
import json
from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones import CLIPSettings, TowerSettings, ViTSettings
from keras_cmm.clip.checkpoints.open_clip import settings_of_config
from keras_cmm_runtime.errors import InputError

# The files of open_clip/model_configs (OpenCLIP 3.3.0) that `settings_of_config` takes.
_CONFIGS = Path(__file__).parents[2] / "assets" / "open_clip" / "models.json"


def open_clip_settings(name: str) -> CLIPSettings:
    """Returns the architecture of a model of OpenCLIP.

    Args:
        name: OpenCLIP's name, such as `"ViT-B-32"`.

    Raises:
        InputError: If there is no such model, or it is not a plain CLIP.

    Example:
        >>> open_clip_settings("ViT-B-32").text.intermediate_activation
        'gelu'
        >>> open_clip_settings("ViT-B-32-quickgelu").text.intermediate_activation
        'quick_gelu'
    """
    # OpenCLIP itself takes "ViT-B/32" too.
    known = name.replace("/", "-") if isinstance(name, str) else name
    if known not in _configs():
        near = difflib.get_close_matches(str(name)[:100], _configs(), n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(
            "`open_clip_model` must be OpenCLIP's name of one of its plain CLIP models, such as "
            f"'ViT-B-32' ({hint}All are {', '.join(_configs())}). Received: "
            f"open_clip_model={str(name)[:100]!r}"
        )
    return settings_of_config(_CONFIGS, _configs()[known])


def models_of_sizes(settings: CLIPSettings) -> list[str]:
    """Returns the names of the models that have the sizes of `settings`.

    Activation and number of heads are not compared: the tensors of a checkpoint do not show them.
    """
    sizes = _sizes(settings)
    return [name for name in _configs() if _sizes(open_clip_settings(name)) == sizes]


def _sizes(settings: CLIPSettings) -> CLIPSettings:
    vision = settings.vision
    if isinstance(vision, ViTSettings):
        vision = vision._replace(tower=_without_guesses(vision.tower))
    return settings._replace(vision=vision, text=_without_guesses(settings.text))


def _without_guesses(tower: TowerSettings) -> TowerSettings:
    return tower._replace(num_heads=0, intermediate_activation="")


@functools.cache
def _configs() -> dict[str, dict[str, Any]]:
    configs: dict[str, dict[str, Any]] = json.loads(_CONFIGS.read_text(encoding="utf-8"))
    return configs
