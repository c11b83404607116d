"""A CLIP model: the backbone and what prepares its inputs."""

from __future__ import annotations

from typing import Any, NamedTuple


class CLIPModel(NamedTuple):
    """A CLIP backbone with the tokenizer and the image converter that it was trained with.

    Args:
        backbone: a `CLIPBackbone`, `SigLIPBackbone` or `MetaCLIP2Backbone` of keras-hub, see
            `prepare_backbone`.
        tokenizer: the keras-hub tokenizer of the backbone, such as `CLIPTokenizer`.
        image_converter: the keras-hub image converter of the backbone. Only its settings are used,
            see `ImagePreprocessor`.
    """

    backbone: Any
    tokenizer: Any
    image_converter: Any
