"""Building keras-hub's MetaCLIP 2 with the weights of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones.settings import CLIPSettings, ViTSettings
from keras_cmm.clip.backbones.size_checks import check_text_sizes, check_vit_sizes
from keras_cmm.clip.backbones.weight_assignment import WeightAssignment, Weights

_UNUSED_TENSORS = (
    "text_model.embeddings.position_ids",
    "vision_model.embeddings.position_ids",
)


def build_metaclip_2(
    settings: CLIPSettings, weights: Weights, source: Path, dtype: Any = None
) -> Any:
    """Builds a `keras_hub.models.MetaCLIP2Backbone` with the weights of a checkpoint.

    Args:
        settings: the architecture. The image tower is a ViT.
        weights: the tensors, under the names of transformers' `MetaClip2Model`.
        source: the file or folder of the checkpoint, for messages.
        dtype: dtype or dtype policy, or `None` for Keras's.

    Returns:
        The backbone.

    Raises:
        InputError: If a tensor is missing, has another shape or has no place in the model.
    """
    import keras_hub

    vision = settings.vision
    assert isinstance(vision, ViTSettings)
    assignment = WeightAssignment(weights, source)
    check_text_sizes(settings, assignment)
    check_vit_sizes(vision, settings.image_size, assignment)
    vision_encoder = keras_hub.models.MetaCLIP2VisionEncoder(
        patch_size=vision.patch_size,
        image_shape=(settings.image_size, settings.image_size, 3),
        data_format="channels_last",
        dtype=dtype,
        name="metaclip_2_vision_encoder",
        **vision.tower._asdict(),
    )
    text_encoder = keras_hub.models.MetaCLIP2TextEncoder(
        vocabulary_size=settings.vocabulary_size,
        embedding_dim=settings.text.hidden_dim,
        max_sequence_length=settings.context_length,
        dtype=dtype,
        name="metaclip_2_text_encoder",
        **settings.text._asdict(),
    )
    backbone = keras_hub.models.MetaCLIP2Backbone(
        vision_encoder, text_encoder, settings.projection_dim, dtype=dtype
    )
    _assign_vision(backbone, assignment)
    _assign_text(backbone, assignment)
    assignment.variable(backbone.metaclip_2_head.logit_scale, "logit_scale")
    assignment.check_all_given(_UNUSED_TENSORS, "MetaCLIP 2")
    return backbone


def _assign_vision(backbone: Any, assignment: WeightAssignment) -> None:
    encoder, embedding = backbone.vision_encoder, backbone.vision_encoder.embedding
    name = "vision_model.embeddings"
    assignment.variable(embedding.class_embedding, f"{name}.class_embedding")
    assignment.kernel(embedding.patch_embedding.kernel, f"{name}.patch_embedding.weight")
    positions = embedding.position_embedding.embeddings
    assignment.variable(positions, f"{name}.position_embedding.weight")
    # transformers misspells this name, and so do all files.
    assignment.layer_norm(encoder.pre_layer_norm, "vision_model.pre_layrnorm")
    assignment.transformer(encoder, "vision_model")
    assignment.layer_norm(backbone.vision_post_layer_norm, "vision_model.post_layernorm")
    assignment.kernel(backbone.vision_projection.kernel, "visual_projection.weight")


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
