"""Building keras-hub's CLIP with the weights of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones.resnet import assign_resnet, build_resnet
from keras_cmm.clip.backbones.settings import (
    CLIPSettings,
    ResNetSettings,
    ViTSettings,
)
from keras_cmm.clip.backbones.size_checks import check_text_sizes, check_vit_sizes
from keras_cmm.clip.backbones.vit import assign_vit, build_vit
from keras_cmm.clip.backbones.weight_assignment import WeightAssignment, Weights

# Tensors that do not change CLIP's embeddings: buffers, sizes, and the bias of SigLIP's sigmoid
# loss, which moves the logits of all classes alike.
_UNUSED_TENSORS = (
    "context_length",
    "input_resolution",
    "logit_bias",
    "text_model.embeddings.position_ids",
    "vision_model.embeddings.position_ids",
    "vocab_size",
)


def build_backbone(
    settings: CLIPSettings, weights: Weights, source: Path, dtype: Any = None
) -> Any:
    """Builds a `keras_hub.models.CLIPBackbone` with the weights of a checkpoint.

    Args:
        settings: the architecture.
        weights: the tensors, under the names of transformers' `CLIPModel`. Those of a ResNet, which
            transformers does not have, are under OpenAI's names.
        source: the file or folder of the checkpoint, for messages.
        dtype: dtype or dtype policy, or `None` for Keras's.

    Returns:
        The backbone.

    Raises:
        InputError: If the architecture is impossible, or a tensor is missing, has another shape or
            has no place in the model.
    """
    import keras_hub

    vision, image_size = settings.vision, settings.image_size
    assignment = WeightAssignment(weights, source)
    _check_sizes(settings, assignment)
    if isinstance(vision, ResNetSettings):
        vision_encoder = build_resnet(vision, image_size, source, dtype)
    else:
        vision_encoder = build_vit(vision, image_size, dtype)
    text_encoder = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=settings.vocabulary_size,
        embedding_dim=settings.text.hidden_dim,
        max_sequence_length=settings.context_length,
        dtype=dtype,
        name="clip_text_encoder",
        **settings.text._asdict(),
    )
    backbone = keras_hub.models.CLIPBackbone(
        vision_encoder, text_encoder, settings.projection_dim, dtype=dtype
    )
    if isinstance(vision, ResNetSettings):
        assign_resnet(backbone, assignment)
    else:
        assign_vit(backbone, assignment)
    _assign_text(backbone, assignment)
    assignment.check_all_given(_UNUSED_TENSORS)
    return backbone


def _check_sizes(settings: CLIPSettings, assignment: WeightAssignment) -> None:
    """Checks the sizes against the tensors, so that no config makes a model without end."""
    vision = settings.vision
    check_text_sizes(settings, assignment)
    if isinstance(vision, ViTSettings):
        check_vit_sizes(vision, settings.image_size, assignment)
        return
    for stage, blocks in enumerate(vision.stackwise_num_blocks):
        width = vision.width * 2**stage
        name = f"visual.layer{stage + 1}.{blocks - 1}.bn1.weight"
        assignment.check_shape(name, (width,))
    patches = (settings.image_size // 32) ** 2
    features = 32 * vision.width
    assignment.check_shape("visual.attnpool.positional_embedding", (patches + 1, features))


def _assign_text(backbone: Any, assignment: WeightAssignment) -> None:
    encoder, embedding = backbone.text_encoder, backbone.text_encoder.embedding
    name = "text_model.embeddings"
    tokens = embedding.token_embedding.embeddings
    assignment.variable(tokens, f"{name}.token_embedding.weight")
    positions = embedding.position_embedding.position_embeddings
    assignment.variable(positions, f"{name}.position_embedding.weight")
    assignment.transformer(encoder, "text_model")
    assignment.layer_norm(encoder.layer_norm, "text_model.final_layer_norm")
    assignment.kernel(backbone.text_projection.kernel, "text_projection.weight")
    assignment.variable(backbone.clip_head.logit_scale, "logit_scale")
