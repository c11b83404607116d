"""CLIP models whose image tower is a ResNet, built from the tensors of a checkpoint."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras_cmm.clip.backbones.vit import (
    UNUSED_TENSORS,
    TowerSettings,
    assign_text,
    build_text_encoder,
)
from keras_cmm.clip.backbones.weight_assignment import WeightAssignment, Weights
from keras_cmm.errors import InputError

# Counts of training steps, which inference does not use.
_STEP_COUNTER = ".num_batches_tracked"
_PROJECTION = "visual.attnpool.c_proj"


class ResNetSettings(NamedTuple):
    """A CLIP model with a ResNet.

    Args:
        stackwise_num_blocks: blocks of the four stages.
        width: int. Channels after the stem.
        head_dim: int. Width of a head of the attention pool.
        text: the text tower.
        image_size: int, pixels.
        vocabulary_size: int.
        context_length: int, tokens.
        projection_dim: int. Length of the embeddings.
    """

    stackwise_num_blocks: tuple[int, ...]
    width: int
    head_dim: int
    text: TowerSettings
    image_size: int
    vocabulary_size: int
    context_length: int
    projection_dim: int


def build_resnet_backbone(settings: ResNetSettings, weights: Weights, dtype: Any = None) -> Any:
    """Builds a `keras_hub.models.CLIPBackbone` around a `ResNetVisionEncoder`.

    Args:
        settings: the architecture.
        weights: the tensors, as `with_transformers_names` returns them: those of the image tower
            under OpenAI's names.
        dtype: dtype or dtype policy, or `None` for Keras's.

    Returns:
        The backbone.

    Raises:
        InputError: If there is no such network, or a tensor is missing, of another shape, or has no
            place in the model.
    """
    import keras_hub

    from keras_cmm.clip.backbones.resnet_vision_encoder import ResNetVisionEncoder

    try:
        vision_encoder = ResNetVisionEncoder(
            settings.stackwise_num_blocks,
            settings.width,
            settings.head_dim,
            image_shape=(settings.image_size, settings.image_size, 3),
            dtype=dtype,
            name="clip_vision_encoder",
        )
    except ValueError as error:
        raise InputError(f"its ResNet cannot be built: {error}") from error
    text_encoder = build_text_encoder(
        settings.text, settings.vocabulary_size, settings.context_length, dtype
    )
    backbone = keras_hub.models.CLIPBackbone(
        vision_encoder, text_encoder, settings.projection_dim, dtype=dtype
    )
    assignment = WeightAssignment(_with_whole_projection(weights))
    _assign_vision(backbone, assignment)
    assign_text(backbone, assignment)
    assignment.check_all_given(UNUSED_TENSORS)
    return backbone


def _with_whole_projection(weights: Weights) -> dict[str, Any]:
    """Makes the bias of the image projection a column of its weights, see `ResNetVisionEncoder`."""
    import torch

    whole = {name: weights[name] for name in weights if not name.endswith(_STEP_COUNTER)}
    weight, bias = f"{_PROJECTION}.weight", f"{_PROJECTION}.bias"
    if weight in whole and bias in whole:
        whole[weight] = torch.cat([whole[weight], whole.pop(bias)[:, None]], dim=1)
    return whole


def _assign_vision(backbone: Any, assignment: WeightAssignment) -> None:
    encoder = backbone.vision_encoder
    for number in (1, 2, 3):
        name = f"stem_{number}"
        _assign_convolution(encoder, name, assignment, f"visual.conv{number}", f"visual.bn{number}")
    for stage, num_blocks in enumerate(encoder.stackwise_num_blocks):
        for block in range(num_blocks):
            ours = f"stage_{stage}_block_{block}"
            theirs = f"visual.layer{stage + 1}.{block}"
            for number in (1, 2, 3):
                _assign_convolution(
                    encoder,
                    f"{ours}_{number}",
                    assignment,
                    f"{theirs}.conv{number}",
                    f"{theirs}.bn{number}",
                )
            # Every stage widens the channels, so its first block has a convolution in its shortcut.
            if block == 0:
                _assign_convolution(
                    encoder,
                    f"{ours}_shortcut",
                    assignment,
                    f"{theirs}.downsample.0",
                    f"{theirs}.downsample.1",
                )
    positions = encoder.get_layer("pool_positions").position_embeddings
    assignment.variable(positions, "visual.attnpool.positional_embedding")
    for part in ("query", "key", "value"):
        assignment.dense(encoder.get_layer(f"pool_{part}"), f"visual.attnpool.{part[0]}_proj")
    assignment.variable(backbone.vision_projection.kernel, f"{_PROJECTION}.weight", (1, 0))


def _assign_convolution(
    encoder: Any, layer: str, assignment: WeightAssignment, convolution: str, norm: str
) -> None:
    kernel = encoder.get_layer(f"{layer}_conv").kernel
    # torch's kernels are (out, in, height, width).
    assignment.variable(kernel, f"{convolution}.weight", (2, 3, 1, 0))
    batch_norm = encoder.get_layer(f"{layer}_norm")
    assignment.variable(batch_norm.gamma, f"{norm}.weight")
    assignment.variable(batch_norm.beta, f"{norm}.bias")
    assignment.variable(batch_norm.moving_mean, f"{norm}.running_mean")
    assignment.variable(batch_norm.moving_variance, f"{norm}.running_var")
