"""Checks of a config's sizes against the tensors, so that no config makes a model without end."""

from __future__ import annotations

from keras_cmm.clip.backbones.settings import CLIPSettings, TowerSettings, ViTSettings
from keras_cmm.clip.backbones.weight_assignment import WeightAssignment


def check_text_sizes(
    settings: CLIPSettings, assignment: WeightAssignment, projection: str = "text_projection"
) -> None:
    """Checks the sizes of a text tower.

    Args:
        settings: the architecture.
        assignment: the tensors.
        projection: name of the dense layer that ends the tower.

    Raises:
        InputError: If a tensor is missing or has another shape.
    """
    text = settings.text
    name = "text_model.embeddings"
    sizes = settings.vocabulary_size, settings.context_length
    assignment.check_shape(f"{name}.token_embedding.weight", (sizes[0], text.hidden_dim))
    assignment.check_shape(f"{name}.position_embedding.weight", (sizes[1], text.hidden_dim))
    assignment.check_shape(f"{projection}.weight", (settings.projection_dim, text.hidden_dim))
    _check_tower(text, "text_model", assignment)


def check_vit_sizes(
    vision: ViTSettings, image_size: int, assignment: WeightAssignment, class_tokens: int = 1
) -> None:
    """Checks the sizes of a vision transformer.

    Args:
        vision: the image tower.
        image_size: int, pixels.
        assignment: the tensors.
        class_tokens: int. How many positions there are besides those of the patches.

    Raises:
        InputError: If a tensor is missing or has another shape.
    """
    width, patches = vision.tower.hidden_dim, (image_size // vision.patch_size) ** 2
    name = "vision_model.embeddings.position_embedding.weight"
    assignment.check_shape(name, (patches + class_tokens, width))
    _check_tower(vision.tower, "vision_model", assignment)


def _check_tower(tower: TowerSettings, name: str, assignment: WeightAssignment) -> None:
    last = f"{name}.encoder.layers.{tower.num_layers - 1}.mlp.fc1.weight"
    assignment.check_shape(last, (tower.intermediate_dim, tower.hidden_dim))
