"""Image encoders of transformers, built by transformers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from keras_cmm.clip.libraries.library_model import LibraryModel, import_library, square_size
from keras_cmm_runtime.errors import InputError

# Names of the parameter that is the first token.
_CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")


def build_transformers(architecture: Mapping[str, Any]) -> LibraryModel:
    """Builds an image encoder of transformers with random weights; nothing is fetched.

    Args:
        architecture: `config`, the dict of `config.json`; `image_size`, which the model takes;
            `dim`, the length of an embedding; and `"pooling_layer": False` for a model that was
            saved without one.

    Returns:
        The model. Its embeddings are those of `embed_images`.

    Raises:
        InputError: If transformers is not installed, or cannot build it.

    References:
        https://github.com/huggingface/transformers.
    """
    transformers = import_library("transformers")
    config = dict(architecture["config"])
    kind = config.pop("model_type", None)
    try:
        built = transformers.AutoConfig.for_model(kind, **config)
        module = transformers.AutoModel.from_config(built, **pooling_options(architecture))
    # Each model raises errors of its own for settings that it does not know.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"transformers {transformers.__version__} cannot build a model of the type {kind!r} "
            f"({reason}); its config is damaged, or of a newer transformers."
        ) from error
    size, dim = square_size(architecture["image_size"]), int(architecture["dim"])
    return LibraryModel(module, partial(embed_images, module), size, dim)


def pooling_options(architecture: Mapping[str, Any]) -> dict[str, bool]:
    """Returns the arguments of a model that was saved without its pooling layer."""
    return {} if architecture.get("pooling_layer", True) else {"add_pooling_layer": False}


def embed_images(module: Any, images: Any) -> Any:
    """Embeds images by a model of transformers.

    Args:
        module: the model.
        images: normalised images, float `(batch, 3, height, width)`.

    Returns:
        `(batch, dim)`: the pooled output, of DINOv2 and DINOv3 the class token. A model that does
        not pool gives its class token, or without one the mean over all places.
    """
    output = module(pixel_values=images)
    pooled = getattr(output, "pooler_output", None)
    if pooled is not None:
        return pooled.flatten(1)
    hidden = output.last_hidden_state
    if hidden.ndim == 4:
        return hidden.mean((2, 3))
    names = {name.rpartition(".")[2] for name, _ in module.named_parameters()}
    return hidden.mean(1) if names.isdisjoint(_CLASS_TOKENS) else hidden[:, 0]
