"""Checks of keras-hub presets. keras-hub builds what a config says, and drops other weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.inputs import check_tokenizer
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImagePreprocessor
from keras_cmm_runtime.utils.files import read_json_object

_TOWERS = ("vision_encoder", "text_encoder")
# Of presets whose config is that of one tower.
_IMAGE_ENCODERS = ("DINOV2Backbone", "DINOV3Backbone")
_SIZES = (
    "patch_size",
    "vocabulary_size",
    "embedding_dim",
    "hidden_dim",
    "num_layers",
    "num_heads",
    "intermediate_dim",
    "max_sequence_length",
    "projection_dim",
)
_WEIGHTS = "model.weights.h5"


def check_sizes(folder: Path) -> None:
    """Checks the sizes in the config of a preset, before a model of such sizes is built.

    Args:
        folder: the folder of the preset.

    Raises:
        InputError: If a size is not an int >= 1, or the model would be larger than its weights.
    """
    path = folder / "config.json"
    content = read_json_object(path)
    config = content.get("config")
    if content.get("class_name") in _IMAGE_ENCODERS and isinstance(config, dict):
        config = {"vision_encoder": {"config": config}}
    for name, tower in _towers(config):
        for key in _SIZES:
            size = tower.get(key, 1)
            if size is not None and (type(size) is not int or size < 1):
                raise InputError(
                    f"{path}: `{name}.{key}` must be an int >= 1. Received: {key}={size!r}"
                )
    smallest = sum(_smallest_size(tower) for _, tower in _towers(config))
    weights = _count_in_file(folder / _WEIGHTS)
    if weights is not None and smallest > weights:
        raise InputError(_mismatch(folder, f"{smallest:,} or more", weights))


def check_weights(folder: Path, backbone: Any) -> None:
    """Checks that a preset holds as many weights as its config asks for.

    Args:
        folder: the folder of the preset.
        backbone: the backbone, as keras-hub loaded it.

    Raises:
        InputError: If it holds more or fewer.
    """
    weights = _count_in_file(folder / _WEIGHTS)
    built = sum(math.prod(weight.shape) for weight in backbone.weights if "float" in weight.dtype)
    if weights is not None and built != weights:
        raise InputError(_mismatch(folder, f"{built:,}", weights))


def check_preset(folder: Path, model: CLIPModel) -> None:
    """Checks that the parts of a loaded preset belong together.

    Args:
        folder: the folder of the preset.
        model: the model that keras-hub made of it.

    Raises:
        InputError: If its tokenizer or image converter cannot be used.
    """
    if model.tokenizer is not None:
        check_tokenizer(model.tokenizer, model.backbone.text_encoder.vocabulary_size, folder)
    path = folder / "image_converter.json"
    try:
        preprocessor = ImagePreprocessor.from_image_converter(model.image_converter)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    side = model.backbone.vision_encoder.image_shape[0]
    if preprocessor.image_size != side:
        raise InputError(
            f"{path}: makes images of {preprocessor.image_size} pixels, but the model takes {side}."
        )


def _towers(config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields name and config of each tower. Towers of another form are left to keras-hub."""
    for name in _TOWERS:
        tower = config.get(name) if isinstance(config, dict) else None
        if isinstance(tower, dict) and isinstance(tower.get("config"), dict):
            yield name, tower["config"]


def _smallest_size(tower: Mapping[str, Any]) -> int:
    """Returns a number of weights that a tower has at least."""
    width = tower.get("hidden_dim") or 1
    dense = 2 * width * (tower.get("intermediate_dim") or 0)
    words = (tower.get("vocabulary_size") or 0) * (tower.get("embedding_dim") or 0)
    positions = width * (tower.get("max_sequence_length") or 0)
    return int((tower.get("num_layers") or 0) * (4 * width**2 + dense) + words + positions)


def _count_in_file(path: Path) -> int | None:
    """Returns the number of floats in a weights file, or `None` if it cannot be read.

    keras-hub then says why. Very large models have their weights in shards, which are not counted.
    """
    if not path.is_file():
        return None
    import h5py

    count = 0

    def add(_: str, entry: Any) -> None:
        nonlocal count
        # Keras writes bfloat16 as a type of two bytes that h5py does not know.
        if isinstance(entry, h5py.Dataset) and entry.dtype.kind in "fV":
            count += int(entry.size)

    try:
        with h5py.File(path) as file:
            file.visititems(add)
    except (OSError, RuntimeError, ValueError):
        return None
    return count


def _mismatch(folder: Path, wanted: str, weights: int) -> str:
    return (
        f"{folder}: config.json describes a model of {wanted} weights, and {_WEIGHTS} holds "
        f"{weights:,}; they do not belong together."
    )
