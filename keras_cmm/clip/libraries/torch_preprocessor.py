"""Tokenizer and image settings of a model that another library runs."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub

from keras_cmm.clip.libraries.library_tokenizer import LibraryTokenizer
from keras_cmm.clip.libraries.torch_backbone import TorchBackbone
from keras_cmm.clip.libraries.torch_image_converter import TorchImageConverter


@keras.saving.register_keras_serializable(package="keras_cmm")
class TorchPreprocessor(keras_hub.models.Preprocessor):
    """Tokenizer and image settings of a `TorchBackbone`.

    Args:
        tokenizer: a `LibraryTokenizer`, or `None` without a text tower.
        image_converter: a `TorchImageConverter`.
        **kwargs: `name`.
    """

    backbone_cls = TorchBackbone
    tokenizer_cls = LibraryTokenizer
    image_converter_cls = TorchImageConverter

    def __init__(
        self,
        tokenizer: LibraryTokenizer | None = None,
        image_converter: TorchImageConverter | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tokenizer = tokenizer
        self.image_converter = image_converter
