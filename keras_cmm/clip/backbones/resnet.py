"""CLIP's ResNets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones.settings import ResNetSettings
from keras_cmm.clip.backbones.weight_assignment import WeightAssignment, Weights
from keras_cmm_runtime.errors import InputError

# Counts of training steps, which inference does not use.
_STEP_COUNTER = ".num_batches_tracked"
_PROJECTION = "visual.attnpool.c_proj"


def build_resnet(settings: ResNetSettings, image_size: int, source: Path, dtype: Any) -> Any:
    """Builds a `ResNetVisionEncoder` without its weights.

    Raises:
        InputError: If there is no such network.
    """
    from keras_cmm.clip.backbones.resnet_vision_encoder import ResNetVisionEncoder

    try:
        return ResNetVisionEncoder(
            *settings,
            image_shape=(image_size, image_size, 3),
            dtype=dtype,
            name="clip_vision_encoder",
        )
    except ValueError as error:
        raise InputError(f"{source}: its ResNet cannot be built: {error}") from error


def assign_resnet(backbone: Any, assignment: WeightAssignment) -> None:
    """Assigns the weights of a `ResNetVisionEncoder` and of its projection."""
    encoder = backbone.vision_encoder
    assignment.weights = _with_whole_projection(assignment.weights)
    for layer, convolution, norm in _convolutions(encoder.stackwise_num_blocks):
        kernel = encoder.get_layer(f"{layer}_conv").kernel
        assignment.kernel(kernel, f"visual.{convolution}.weight")
        batch_norm = encoder.get_layer(f"{layer}_norm")
        assignment.layer_norm(batch_norm, f"visual.{norm}")
        assignment.variable(batch_norm.moving_mean, f"visual.{norm}.running_mean")
        assignment.variable(batch_norm.moving_variance, f"visual.{norm}.running_var")
    positions = encoder.get_layer("pool_positions").position_embeddings
    assignment.variable(positions, "visual.attnpool.positional_embedding")
    for part in ("query", "key", "value"):
        assignment.dense(encoder.get_layer(f"pool_{part}"), f"visual.attnpool.{part[0]}_proj")
    assignment.kernel(backbone.vision_projection.kernel, f"{_PROJECTION}.weight")


def _convolutions(stackwise_num_blocks: Sequence[int]) -> Iterator[tuple[str, str, str]]:
    """Yields our name of each convolution, and OpenAI's names of it and of its batch norm."""
    for number in (1, 2, 3):
        yield f"stem_{number}", f"conv{number}", f"bn{number}"
    for stage, num_blocks in enumerate(stackwise_num_blocks):
        for block in range(num_blocks):
            ours, theirs = f"stage_{stage}_block_{block}", f"layer{stage + 1}.{block}"
            for number in (1, 2, 3):
                yield f"{ours}_{number}", f"{theirs}.conv{number}", f"{theirs}.bn{number}"
            # A stage widens the channels, so its first block has a convolution in its shortcut.
            if block == 0:
                yield f"{ours}_shortcut", f"{theirs}.downsample.0", f"{theirs}.downsample.1"


def _with_whole_projection(weights: Weights) -> Weights:
    """Makes the bias of the image projection a column of its weights, see `ResNetVisionEncoder`."""
    import torch

    whole = {name: weights[name] for name in weights if not name.endswith(_STEP_COUNTER)}
    weight, bias = f"{_PROJECTION}.weight", f"{_PROJECTION}.bias"
    if weight in whole and bias in whole:
        whole[weight] = torch.cat([whole[weight], whole.pop(bias)[:, None]], dim=1)
    return whole
