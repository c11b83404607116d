"""Writing CLIP models as keras-hub presets."""

from __future__ import annotations

import os
from typing import Any

from keras_cmm.clip.clip_model import CLIPModel

_PREPROCESSORS = {
    "CLIPTokenizer": "CLIPPreprocessor",
    "MetaCLIP2Tokenizer": "MetaCLIP2CausalLMPreprocessor",
    "SigLIPTokenizer": "SigLIPPreprocessor",
}


def make_preprocessor(model: CLIPModel) -> Any:
    """Makes the keras-hub preprocessor that holds a model's tokenizer and image converter.

    Args:
        model: the model, as `keras_cmm.clip.load` returns it.

    Returns:
        A `CLIPPreprocessor`, `SigLIPPreprocessor` or `MetaCLIP2CausalLMPreprocessor` of keras-hub.
    """
    import keras_hub

    name = _PREPROCESSORS[type(model.tokenizer).__name__]
    return getattr(keras_hub.models, name)(
        model.tokenizer,
        model.image_converter,
        sequence_length=model.backbone.text_encoder.max_sequence_length,
    )


def save_preset(model: CLIPModel, folder: str | os.PathLike[str]) -> None:
    """Writes a model as a keras-hub preset: backbone, tokenizer and image converter.

    `keras_cmm.clip.load` reads it back to the same embeddings. So does keras-hub itself, but for
    the epsilon of CLIP's last text layer (see `prepare_backbone`), a millionth of an embedding,
    and its own resizing of images.

    Args:
        model: the model, as `keras_cmm.clip.load` returns it.
        folder: the folder, which is made if need be.

    Example:
        >>> from keras_cmm import clip
        >>> model = clip.load("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> clip.save_preset(model, "clip_preset")  # doctest: +SKIP
    """
    model.backbone.save_to_preset(os.fspath(folder))
    make_preprocessor(model).save_to_preset(os.fspath(folder))
