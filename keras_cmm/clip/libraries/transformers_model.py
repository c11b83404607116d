"""Image encoders of transformers, built by transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_cmm.clip.libraries.library_model import LibraryModel, import_library, square_size
from keras_cmm_runtime.errors import InputError


def build_transformers(architecture: Mapping[str, Any]) -> LibraryModel:
    """Builds an image encoder of transformers with random weights; nothing is fetched.

    Args:
        architecture: `config`, the dict of `config.json`, and `image_size`, which the model takes.

    Returns:
        The model. Its embedding is the pooled output: of DINOv2 and DINOv3 the class token.

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
        module = transformers.AutoModel.from_config(built)
    # Each model raises errors of its own for settings that it does not know.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"transformers {transformers.__version__} cannot build a model of the type {kind!r} "
            f"({reason}); its config is damaged, or of a newer transformers."
        ) from error

    def embed_images(images: Any) -> Any:
        return module(pixel_values=images).pooler_output.flatten(1)

    widths = getattr(built, "hidden_sizes", None)
    dim = int(widths[-1] if widths else built.hidden_size)
    return LibraryModel(module, embed_images, square_size(architecture["image_size"]), dim)
