"""Models of images and texts as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.checkpoints.tower_pairs import find_towers, load_tower_pair
from keras_cmm.clip.checkpoints.transformers_clip import load_clip, load_metaclip_2
from keras_cmm.clip.checkpoints.transformers_config import model_type
from keras_cmm.clip.checkpoints.transformers_siglip import load_siglip
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object

_LOADERS = {"clip": load_clip, "metaclip_2": load_metaclip_2, "siglip": load_siglip}
# Types of models that embed images of any shape, and of one tower of CLIP.
_REFUSED = ("siglip2", "clip_vision_model", "clip_text_model")
# Settings of models that read texts too.
_OF_TEXTS = ("decoder", "text_config", "vision_config")
# Any of these tells image settings from those of sounds.
_OF_IMAGES = {"do_resize", "image_mean", "size"}


def is_image_encoder(folder: Path) -> bool:
    """Returns whether a folder holds a model of transformers that embeds images only.

    Raises:
        InputError: If a file with settings is damaged.
    """
    kind, settings = model_type(folder), folder / "preprocessor_config.json"
    if kind is None or kind in (*_LOADERS, *_REFUSED) or not settings.is_file():
        return False
    config = read_json_object(folder / "config.json")
    reads_texts = any(name in config for name in _OF_TEXTS)
    return not reads_texts and not _OF_IMAGES.isdisjoint(read_json_object(settings))


def is_timm(folder: Path) -> bool:
    """Returns whether a folder holds a model of timm: its config names an architecture.

    Raises:
        InputError: If its `config.json` is damaged.
    """
    path = folder / "config.json"
    return path.is_file() and isinstance(read_json_object(path).get("architecture"), str)


def is_hugging_face(folder: Path) -> bool:
    """Returns whether a folder holds a transformers model that `load_hugging_face` loads.

    Raises:
        InputError: If its `config.json` is damaged.
    """
    kind = model_type(folder)
    return kind in _LOADERS or (kind is None and find_towers(folder) is not None)


def check_model_type(folder: Path) -> None:
    """Raises an error for a transformers model of another type.

    Raises:
        InputError: If the folder holds such a model.
    """
    kind = model_type(folder)
    if kind is None or kind in _LOADERS or is_image_encoder(folder):
        return
    expected = (
        f"expected {', '.join(map(repr, _LOADERS))}, a folder of two towers, or an image encoder "
        "with its preprocessor_config.json."
    )
    if kind == "siglip2":
        expected = (
            "these are the NaFlex models, which take images of any shape, and keras-hub has no "
            "such tower. Give a SigLIP 2 of one image size, such as "
            "'google/siglip2-base-patch16-224' (transformers calls its type 'siglip')."
        )
    elif kind in ("clip_vision_model", "clip_text_model"):
        expected = (
            "one tower alone names no classes. Put both into one folder, as vision and text, and "
            "give that folder."
        )
    raise InputError(f"{folder}: holds a transformers model of the type {kind!r}; {expected}")


def load_hugging_face(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads a CLIP, SigLIP, SigLIP 2 or MetaCLIP 2 that transformers' `save_pretrained` wrote.

    Args:
        folder: the folder, with `config.json`, the weights in one file or in shards, the tokenizer
            files and `preprocessor_config.json`. Without the last, the image settings of the
            family are used, with a warning. Or a folder of two towers of CLIP, see
            `load_tower_pair`.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.

    Returns:
        Backbone, tokenizer and image converter.

    Raises:
        InputError: If a file is missing or damaged, or keras-hub's model cannot be built like the
            model.
    """
    return _LOADERS.get(model_type(folder) or "", load_tower_pair)(folder, dtype)
