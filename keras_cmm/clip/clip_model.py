"""The parts of a CLIP model that belong together."""

from __future__ import annotations

from typing import Any, NamedTuple


class CLIPModel(NamedTuple):
    """A CLIP backbone with the tokenizer and the image converter it was trained with.

    Args:
        backbone: a `keras_hub.models.CLIPBackbone`.
        tokenizer: a `keras_hub.models.CLIPTokenizer`.
        image_converter: a `keras_hub.layers.CLIPImageConverter`; only its settings are used, see
            `ImagePreprocessor`.
    """

    backbone: Any
    tokenizer: Any
    image_converter: Any
