"""Loading image encoders that transformers runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.libraries.library_model import import_library
from keras_cmm.clip.libraries.torch_backbone import TorchBackbone
from keras_cmm.clip.libraries.transformers_images import read_image_processor
from keras_cmm.clip.libraries.transformers_model import embed_images, pooling_options
from keras_cmm_runtime.errors import InputError


def load_transformers(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads an image encoder that transformers saved, such as DINOv3, ViT, Swin or ConvNeXt.

    Args:
        folder: the folder, with `config.json`, `preprocessor_config.json` and the weights.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.

    Returns:
        A `TorchBackbone` without a text tower, no tokenizer, and a `TorchImageConverter`.

    Raises:
        InputError: If a file is missing or damaged, the model does not embed images alone, or
            transformers is not installed.
    """
    import_library("transformers")
    converter = read_image_processor(folder)
    architecture: dict[str, Any] = {"image_size": converter.image_size[0]}
    model, missing = _from_pretrained(folder, architecture)
    if missing and all(name.startswith("pooler.") for name in missing):
        # As of a checkpoint for classification, which pools in another way.
        architecture["pooling_layer"] = False
        model, missing = _from_pretrained(folder, architecture)
    if missing:
        raise InputError(
            f"{folder}: has no tensor {missing[0]!r}; its weights and its config do not belong "
            "together."
        )
    config = model.config.to_dict()
    # Of a classifier that is not used.
    for name in ("id2label", "label2id"):
        config.pop(name, None)
    architecture |= {"config": config, "dim": _dim(folder, model, converter.image_size[0])}
    backbone = TorchBackbone("transformers", json.dumps(architecture), dtype=dtype)
    backbone.tower.assign_tensors(model.state_dict())
    return CLIPModel(backbone, None, converter)


def _from_pretrained(folder: Path, architecture: dict[str, Any]) -> tuple[Any, list[str]]:
    """Returns the model, and the names of the tensors that the folder lacks."""
    try:
        model, info = import_library("transformers").AutoModel.from_pretrained(
            folder,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            dtype="float32",
            **pooling_options(architecture),
        )
    # transformers raises errors of many kinds for files that it cannot read.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder}: transformers cannot load this model ({reason}).") from error
    return model, sorted(info["missing_keys"])


def _dim(folder: Path, model: Any, image_size: int) -> int:
    """Embeds an image of noise twice, and returns the length of the embedding."""
    import torch

    noise = torch.rand(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            first, second = (embed_images(model, noise) for _ in range(2))
    # Each model raises errors of its own for images of another size or a missing input.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{folder}: a model of the type {model.config.model_type!r} cannot embed images of "
            f"{image_size} pixels alone ({reason})."
        ) from error
    if not torch.equal(first, second):
        raise InputError(
            f"{folder}: a model of the type {model.config.model_type!r} embeds an image in another "
            "way each time: it masks parts of it at random. Give one that does not."
        )
    return int(first.shape[1])
