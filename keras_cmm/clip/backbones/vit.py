"""CLIP's vision transformers."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_cmm.clip.backbones.settings import ViTSettings
from keras_cmm.clip.backbones.weight_assignment import WeightAssignment


def build_vit(settings: ViTSettings, image_size: int, dtype: Any) -> Any:
    """Builds a `keras_hub.models.CLIPVisionEncoder` without its weights."""
    import keras_hub

    return keras_hub.models.CLIPVisionEncoder(
        patch_size=settings.patch_size,
        image_shape=(image_size, image_size, 3),
        data_format="channels_last",
        dtype=dtype,
        name="clip_vision_encoder",
        **settings.tower._asdict(),
    )


def assign_vit(backbone: Any, assignment: WeightAssignment) -> None:
    """Assigns the weights of a `CLIPVisionEncoder` and of its projection."""
    encoder, embedding = backbone.vision_encoder, backbone.vision_encoder.embedding
    name = "vision_model.embeddings"
    assignment.variable(embedding.class_embedding, f"{name}.class_embedding")
    assignment.kernel(embedding.patch_embedding.kernel, f"{name}.patch_embedding.weight")
    positions = embedding.position_embedding.embeddings
    assignment.variable(positions, f"{name}.position_embedding.weight")
    # keras-hub leaves these at zero.
    embedding.position_ids.assign(ops.expand_dims(ops.arange(embedding.num_positions), 0))
    # transformers misspells this name, and so do all files.
    assignment.layer_norm(encoder.pre_layer_norm, "vision_model.pre_layrnorm")
    assignment.transformer(encoder, "vision_model")
    assignment.layer_norm(encoder.layer_norm, "vision_model.post_layernorm")
    assignment.kernel(backbone.vision_projection.kernel, "visual_projection.weight")
