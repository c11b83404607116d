"""Image encoders of timm, built by timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_cmm.clip.libraries.library_model import LibraryModel, import_library, square_size
from keras_cmm_runtime.errors import InputError


def build_timm(architecture: Mapping[str, Any]) -> LibraryModel:
    """Builds an image encoder of timm with random weights; nothing is fetched.

    Args:
        architecture: `model`, timm's name, `arguments` of `timm.create_model`, and `image_size`.

    Returns:
        The model. Its embeddings are the pooled features, before the classifier.

    Raises:
        InputError: If timm is not installed, or has no such model.

    References:
        https://github.com/huggingface/pytorch-image-models.
    """
    timm = import_library("timm")
    name = architecture["model"]
    try:
        module = timm.create_model(
            name, pretrained=False, num_classes=0, **architecture["arguments"]
        )
    # Each model raises errors of its own for arguments that it does not know.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"timm {timm.__version__} cannot build the model {name!r} ({reason}); its config is "
            "damaged, or of a newer timm."
        ) from error
    # Some models have another width before the classifier than inside.
    dim = int(getattr(module, "head_hidden_size", None) or module.num_features)
    return LibraryModel(module, module, square_size(architecture["image_size"]), dim)
