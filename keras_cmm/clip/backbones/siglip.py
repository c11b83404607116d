"""Building keras-hub's SigLIP with the weights of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones.settings import CLIPSettings, ViTSettings
from keras_cmm.clip.backbones.size_checks import check_text_sizes, check_vit_sizes
from keras_cmm.clip.backbones.weight_assignment import WeightAssignment, Weights
from keras_cmm_runtime.errors import InputError

# torch keeps the three projections of the pooling's attention in one tensor.
_POOLING = "vision_model.head.attention"
_UNUSED_TENSORS = (
    "text_model.embeddings.position_ids",
    "vision_model.embeddings.position_ids",
)


def build_siglip(settings: CLIPSettings, weights: Weights, source: Path, dtype: Any = None) -> Any:
    """Builds a `keras_hub.models.SigLIPBackbone` with the weights of a checkpoint.

    Args:
        settings: the architecture. The image tower is a ViT. Activations are `"gelu_approximate"`
            or `"gelu"`.
        weights: the tensors, under the names of transformers' `SiglipModel`.
        source: the file or folder of the checkpoint, for messages.
        dtype: dtype or dtype policy, or `None` for Keras's.

    Returns:
        The backbone.

    Raises:
        InputError: If the architecture is impossible, or a tensor is missing, has another shape or
            has no place in the model.
    """
    import keras_hub

    vision = settings.vision
    assert isinstance(vision, ViTSettings)
    width = vision.tower.hidden_dim
    if settings.projection_dim != width:
        raise InputError(
            f"{source}: its texts have embeddings of length {settings.projection_dim}, and its "
            f"images of length {width}; they do not belong together."
        )
    assignment = WeightAssignment(_with_three_projections(weights, width), source)
    check_text_sizes(settings, assignment, "text_model.head")
    check_vit_sizes(vision, settings.image_size, assignment, class_tokens=0)
    vision_encoder = keras_hub.models.SigLIPVisionEncoder(
        patch_size=vision.patch_size,
        image_shape=(settings.image_size, settings.image_size, 3),
        data_format="channels_last",
        dtype=dtype,
        name="siglip_vision_encoder",
        **vision.tower._asdict(),
    )
    text_encoder = keras_hub.models.SigLIPTextEncoder(
        vocabulary_size=settings.vocabulary_size,
        embedding_dim=settings.text.hidden_dim,
        max_sequence_length=settings.context_length,
        projection_dim=settings.projection_dim,
        dtype=dtype,
        name="siglip_text_encoder",
        **settings.text._asdict(),
    )
    backbone = keras_hub.models.SigLIPBackbone(vision_encoder, text_encoder, dtype=dtype)
    _assign_vision(vision_encoder, assignment)
    _assign_text(text_encoder, assignment)
    for name in ("logit_scale", "logit_bias"):
        # A number in Keras, and in torch an array of one.
        assignment.variable(getattr(backbone.siglip_head, name), name, shape=(1,))
    assignment.check_all_given(_UNUSED_TENSORS, "SigLIP")
    return backbone


def _with_three_projections(weights: Weights, width: int) -> Weights:
    renamed = dict(weights)
    for kind in ("weight", "bias"):
        tensor = renamed.get(f"{_POOLING}.in_proj_{kind}")
        # One of another shape stays under its name, which no layer has.
        if tensor is not None and tensor.shape[:1] == (3 * width,):
            del renamed[f"{_POOLING}.in_proj_{kind}"]
            thirds = tensor.chunk(3)
            for name, third in zip(("q_proj", "k_proj", "v_proj"), thirds, strict=True):
                renamed[f"{_POOLING}.{name}.{kind}"] = third
    return renamed


def _assign_vision(encoder: Any, assignment: WeightAssignment) -> None:
    embedding, head = encoder.embedding, encoder.head
    name = "vision_model.embeddings"
    assignment.kernel(embedding.patch_embedding.kernel, f"{name}.patch_embedding.weight")
    assignment.variable(embedding.patch_embedding.bias, f"{name}.patch_embedding.bias")
    positions = embedding.position_embedding.embeddings
    assignment.variable(positions, f"{name}.position_embedding.weight")
    _assign_blocks(encoder, "vision_model", assignment)
    assignment.layer_norm(encoder.post_layer_norm, "vision_model.post_layernorm")
    assignment.variable(head.probe, "vision_model.head.probe")
    assignment.attention(head.attention, _POOLING)
    assignment.layer_norm(head.layer_norm, "vision_model.head.layernorm")
    _assign_mlp(head.mlp, "vision_model.head.mlp", assignment)


def _assign_text(encoder: Any, assignment: WeightAssignment) -> None:
    name = "text_model.embeddings"
    tokens = encoder.embedding.token_embedding.embeddings
    assignment.variable(tokens, f"{name}.token_embedding.weight")
    positions = encoder.embedding.position_embedding.embeddings
    assignment.variable(positions, f"{name}.position_embedding.weight")
    _assign_blocks(encoder, "text_model", assignment)
    assignment.layer_norm(encoder.post_layer_norm, "text_model.final_layer_norm")
    assignment.dense(encoder.head, "text_model.head")


def _assign_blocks(encoder: Any, tower: str, assignment: WeightAssignment) -> None:
    for number, block in enumerate(encoder.encoder_layers):
        name = f"{tower}.encoder.layers.{number}"
        assignment.layer_norm(block.layer_norm1, f"{name}.layer_norm1")
        assignment.attention(block.self_attn, f"{name}.self_attn")
        assignment.layer_norm(block.layer_norm2, f"{name}.layer_norm2")
        _assign_mlp(block.mlp, f"{name}.mlp", assignment)


def _assign_mlp(mlp: Any, name: str, assignment: WeightAssignment) -> None:
    assignment.dense(mlp.fc1, f"{name}.fc1")
    assignment.dense(mlp.fc2, f"{name}.fc2")
