"""The architecture of a CLIP model, as its checkpoint describes it."""

from __future__ import annotations

from typing import NamedTuple

ACTIVATIONS = ("quick_gelu", "gelu")
"""Activations of CLIP's towers: the first in OpenAI's models, the second in most of OpenCLIP's."""


class TowerSettings(NamedTuple):
    """A transformer. The fields have the names of keras-hub's arguments.

    Args:
        hidden_dim: int. Width.
        num_layers: int.
        num_heads: int. Must divide the width.
        intermediate_dim: int. Width of the dense layer inside each block.
        intermediate_activation: one of `ACTIVATIONS`.
    """

    hidden_dim: int
    num_layers: int
    num_heads: int
    intermediate_dim: int
    intermediate_activation: str


class ViTSettings(NamedTuple):
    """A vision transformer.

    Args:
        tower: its transformer.
        patch_size: int, pixels.
    """

    tower: TowerSettings
    patch_size: int


class ResNetSettings(NamedTuple):
    """A ResNet, see `ResNetVisionEncoder`.

    Args:
        stackwise_num_blocks: four ints. Blocks of each stage.
        width: int. Channels after the stem.
        head_dim: int. Width of a head of the attention pool.
    """

    stackwise_num_blocks: tuple[int, ...]
    width: int
    head_dim: int


class CLIPSettings(NamedTuple):
    """A CLIP model.

    Args:
        vision: the image tower.
        text: the text tower.
        image_size: int, pixels.
        vocabulary_size: int.
        context_length: int, tokens.
        projection_dim: int. Length of the embeddings.
    """

    vision: ViTSettings | ResNetSettings
    text: TowerSettings
    image_size: int
    vocabulary_size: int
    context_length: int
    projection_dim: int
