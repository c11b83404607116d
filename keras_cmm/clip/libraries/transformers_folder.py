"""Loading image encoders that transformers runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keras_cmm.clip.checkpoints.image_settings import make_image_converter
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.libraries.library_model import import_library, square_size
from keras_cmm.clip.libraries.torch_backbone import TorchBackbone
from keras_cmm.clip.libraries.torch_image_converter import TorchImageConverter
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object

# Keras's names of PIL's filters, by PIL's numbers.
_RESAMPLING = {0: "nearest", 1: "lanczos3", 2: "bilinear", 3: "bicubic"}


def load_transformers(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads an image encoder that transformers saved, such as DINOv2 or DINOv3.

    Args:
        folder: the folder, with `config.json`, `preprocessor_config.json` and the weights.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.

    Returns:
        A `TorchBackbone` without a text tower, no tokenizer, and a `TorchImageConverter`.

    Raises:
        InputError: If a file is missing or damaged, or transformers is not installed.
    """
    converter = _converter(folder)
    transformers = import_library("transformers")
    try:
        model, info = transformers.AutoModel.from_pretrained(
            folder,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            dtype="float32",
        )
    # transformers raises errors of many kinds for files that it cannot read.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder}: transformers cannot load this model ({reason}).") from error
    if missing := sorted(info["missing_keys"]):
        raise InputError(
            f"{folder}: has no tensor {missing[0]!r}; its weights and its config do not belong "
            "together."
        )
    size = converter["converter"].image_size[0]
    architecture = {"config": model.config.to_dict(), "image_size": size}
    backbone = TorchBackbone("transformers", json.dumps(architecture), dtype=dtype)
    backbone.tower.assign_tensors(model.state_dict())
    return CLIPModel(backbone, None, TorchImageConverter.of(**converter))


def _converter(folder: Path) -> dict[str, Any]:
    """Reads `preprocessor_config.json`: resize to a square, or the shorter side and a crop."""
    path = folder / "preprocessor_config.json"
    settings = read_json_object(path)
    try:
        crops = bool(settings.get("do_center_crop"))
        size = settings["size"]
        square = settings["crop_size"] if crops else size
        image_size = square_size([square["height"], square["width"]])
        resize_size = size.get("shortest_edge") if crops else None
        if crops and resize_size is None:
            raise InputError("a crop needs size.shortest_edge")
        do_normalize = settings.get("do_normalize", True)
        converter = make_image_converter(
            image_size,
            settings["image_mean"] if do_normalize else (0.0, 0.0, 0.0),
            settings["image_std"] if do_normalize else (1.0, 1.0, 1.0),
            _RESAMPLING[settings["resample"]],
            crops,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path}: does not say how images are resized, cropped and normalised ({error})."
        ) from error
    return {"converter": converter, "resize_size": resize_size}
