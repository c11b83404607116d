"""CLIP models whose two towers are transformers, built from the tensors of a checkpoint."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from keras_cmm.clip.backbones.weight_assignment import WeightAssignment, Weights

ACTIVATIONS = ("quick_gelu", "gelu")
"""What the dense layers of CLIP models use: OpenAI's the first, most of OpenCLIP's the second."""

# Tensors that CLIP's embeddings do not depend on: buffers, sizes, and the bias of a sigmoid
# loss, which moves the logits of all classes alike.
UNUSED_TENSORS = (
    "context_length",
    "input_resolution",
    "logit_bias",
    "text_model.embeddings.position_ids",
    "vision_model.embeddings.position_ids",
    "vocab_size",
)


class TowerSettings(NamedTuple):
    """A transformer.

    Args:
        hidden_dim: int. Width.
        num_layers: int.
        num_heads: int. They share the width in equal parts.
        intermediate_dim: int. Width of the dense layer inside each block.
        activation: one of `ACTIVATIONS`.
    """

    hidden_dim: int
    num_layers: int
    num_heads: int
    intermediate_dim: int
    activation: str


class ViTSettings(NamedTuple):
    """A CLIP model with a vision transformer.

    Args:
        vision: the image tower.
        text: the text tower.
        image_size: int, pixels.
        patch_size: int, pixels.
        vocabulary_size: int.
        context_length: int, tokens.
        projection_dim: int. Length of the embeddings.
    """

    vision: TowerSettings
    text: TowerSettings
    image_size: int
    patch_size: int
    vocabulary_size: int
    context_length: int
    projection_dim: int


def build_vit_backbone(settings: ViTSettings, weights: Weights, dtype: Any = None) -> Any:
    """Builds a `keras_hub.models.CLIPBackbone` with the weights of a checkpoint.

    Args:
        settings: the architecture.
        weights: the tensors, under the names that transformers' `CLIPModel` has for them.
        dtype: dtype or dtype policy, or `None` for Keras's.

    Returns:
        The backbone.

    Raises:
        InputError: If a tensor is missing, of another shape, or has no place in the model.
    """
    import keras_hub

    tower = settings.vision
    vision_encoder = keras_hub.models.CLIPVisionEncoder(
        patch_size=settings.patch_size,
        hidden_dim=tower.hidden_dim,
        num_layers=tower.num_layers,
        num_heads=tower.num_heads,
        intermediate_dim=tower.intermediate_dim,
        intermediate_activation=tower.activation,
        image_shape=(settings.image_size, settings.image_size, 3),
        data_format="channels_last",
        dtype=dtype,
        name="clip_vision_encoder",
    )
    text_encoder = build_text_encoder(
        settings.text, settings.vocabulary_size, settings.context_length, dtype
    )
    backbone = keras_hub.models.CLIPBackbone(
        vision_encoder, text_encoder, settings.projection_dim, dtype=dtype
    )
    assignment = WeightAssignment(weights)
    _assign_vision(backbone, assignment)
    assign_text(backbone, assignment)
    assignment.check_all_given(UNUSED_TENSORS)
    return backbone


def build_text_encoder(
    tower: TowerSettings, vocabulary_size: int, context_length: int, dtype: Any = None
) -> Any:
    """Returns a `keras_hub.models.CLIPTextEncoder` without its weights."""
    import keras_hub

    return keras_hub.models.CLIPTextEncoder(
        vocabulary_size=vocabulary_size,
        embedding_dim=tower.hidden_dim,
        hidden_dim=tower.hidden_dim,
        num_layers=tower.num_layers,
        num_heads=tower.num_heads,
        intermediate_dim=tower.intermediate_dim,
        intermediate_activation=tower.activation,
        max_sequence_length=context_length,
        dtype=dtype,
        name="clip_text_encoder",
    )


def _assign_vision(backbone: Any, assignment: WeightAssignment) -> None:
    encoder, embedding = backbone.vision_encoder, backbone.vision_encoder.embedding
    name = "vision_model.embeddings"
    assignment.variable(embedding.class_embedding, f"{name}.class_embedding")
    # torch's kernels are (out, in, height, width).
    kernel = embedding.patch_embedding.kernel
    assignment.variable(kernel, f"{name}.patch_embedding.weight", (2, 3, 1, 0))
    positions = embedding.position_embedding.embeddings
    assignment.variable(positions, f"{name}.position_embedding.weight")
    # keras-hub leaves these at zero.
    embedding.position_ids.assign(ops.expand_dims(ops.arange(embedding.num_positions), 0))
    # Misspelt in transformers, and so in every file.
    assignment.layer_norm(encoder.pre_layer_norm, "vision_model.pre_layrnorm")
    _assign_blocks(encoder.encoder_layers, assignment, "vision_model")
    assignment.layer_norm(encoder.layer_norm, "vision_model.post_layernorm")
    assignment.variable(backbone.vision_projection.kernel, "visual_projection.weight", (1, 0))


def assign_text(backbone: Any, assignment: WeightAssignment) -> None:
    """Gives a backbone's text tower, its projection and its logit scale their weights.

    Args:
        backbone: a model with `text_encoder`, `text_projection` and `clip_head` as
            `keras_hub.models.CLIPBackbone` has them.
        assignment: the tensors, under transformers' names.

    Raises:
        InputError: If a tensor is missing or of another shape.
    """
    encoder, embedding = backbone.text_encoder, backbone.text_encoder.embedding
    name = "text_model.embeddings"
    tokens = embedding.token_embedding.embeddings
    assignment.variable(tokens, f"{name}.token_embedding.weight")
    positions = embedding.position_embedding.position_embeddings
    assignment.variable(positions, f"{name}.position_embedding.weight")
    _assign_blocks(encoder.encoder_layers, assignment, "text_model")
    assignment.layer_norm(encoder.layer_norm, "text_model.final_layer_norm")
    assignment.variable(backbone.text_projection.kernel, "text_projection.weight", (1, 0))
    assignment.variable(backbone.clip_head.logit_scale, "logit_scale")


def _assign_blocks(blocks: list[Any], assignment: WeightAssignment, tower: str) -> None:
    for number, block in enumerate(blocks):
        name = f"{tower}.encoder.layers.{number}"
        assignment.layer_norm(block.layer_norm_1, f"{name}.layer_norm1")
        assignment.attention(block.attention, f"{name}.self_attn")
        assignment.layer_norm(block.layer_norm_2, f"{name}.layer_norm2")
        assignment.dense(block.dense_1, f"{name}.mlp.fc1")
        assignment.dense(block.dense_2, f"{name}.mlp.fc2")
