"""Saving CLIP models as keras-hub presets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm_runtime.utils import adding_files

_PREPROCESSORS = {
    "CLIPTokenizer": "CLIPPreprocessor",
    # SigLIP 2 has Gemma's.
    "GemmaTokenizer": "SigLIPPreprocessor",
    "MetaCLIP2Tokenizer": "MetaCLIP2CausalLMPreprocessor",
    "SigLIPTokenizer": "SigLIPPreprocessor",
}


def make_preprocessor(model: CLIPModel) -> Any:
    """Makes the keras-hub preprocessor with a model's tokenizer and image converter.

    Args:
        model: the model, as `keras_cmm.clip.load` returns it.

    Returns:
        A `CLIPPreprocessor`, `SigLIPPreprocessor` or `MetaCLIP2CausalLMPreprocessor` of keras-hub,
        or a `TorchPreprocessor`. Of an `ImageBackbone` the image converter alone.
    """
    import keras_hub

    if type(model.backbone).__name__ == "ImageBackbone":
        return model.image_converter
    if type(model.backbone).__name__ == "TorchBackbone":
        from keras_cmm.clip.libraries.torch_preprocessor import TorchPreprocessor

        return TorchPreprocessor(model.tokenizer, model.image_converter)
    name = _PREPROCESSORS[type(model.tokenizer).__name__]
    return getattr(keras_hub.models, name)(
        model.tokenizer,
        model.image_converter,
        sequence_length=model.backbone.text_encoder.max_sequence_length,
    )


def save_preset(model: CLIPModel, folder: str | os.PathLike[str]) -> None:
    """Saves a model as a keras-hub preset: backbone, tokenizer and image converter.

    A model that `keras_cmm.clip.load` reads from the preset gives the same embeddings. One that
    keras-hub reads differs in two ways: keras-hub resizes images with a method of its own, and the
    last layer of CLIP's text tower gets another epsilon (see `prepare_backbone`), which moves an
    embedding by a millionth.

    The file `keras_cmm.json` of the preset has the SHA-256 of all files. `load` refuses a preset
    whose files are missing or have changed.

    Args:
        model: the model, as `keras_cmm.clip.load` returns it.
        folder: the folder of the preset. It is made if it does not exist.

    Example:
        >>> from keras_cmm import clip
        >>> model = clip.load("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> clip.save_preset(model, "clip_preset")  # doctest: +SKIP
    """
    with adding_files(Path(folder)) as temporary:
        model.backbone.save_to_preset(os.fspath(temporary))
        make_preprocessor(model).save_to_preset(os.fspath(temporary))
