"""An image encoder of keras-hub without a text tower."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub

from keras_cmm_runtime.errors import InputError

KINDS = ("DINOV2Backbone", "DINOV3Backbone")
"""Classes of keras-hub whose first output token is the embedding of the image."""


@keras.saving.register_keras_serializable(package="keras_cmm")
class ImageBackbone(keras_hub.models.Backbone):
    """A DINOv2 or DINOv3 of keras-hub, with the interface of a CLIP's image tower.

    The embedding of an image is the class token, as the pooled output of transformers is.

    Args:
        vision_encoder: a `DINOV2Backbone` or `DINOV3Backbone` of keras-hub.
        **kwargs: `name`, `dtype` and `trainable`. The first two of the encoder are kept.

    Raises:
        InputError: If the encoder has another class.

    Example:
        >>> dino = keras_hub.models.DINOV2Backbone.from_preset("dinov2_small")  # doctest: +SKIP
        >>> ImageBackbone(dino).projection_dim  # doctest: +SKIP
        384
    """

    text_encoder = None

    def __init__(self, vision_encoder: Any, **kwargs: Any) -> None:
        if type(vision_encoder).__name__ not in KINDS:
            raise InputError(
                f"`vision_encoder` must be one of {', '.join(KINDS)}. "
                f"Received: a {type(vision_encoder).__name__}"
            )
        images = keras.Input(shape=vision_encoder.image_shape, name="images")
        (name,) = vision_encoder.input
        kwargs["dtype"] = vision_encoder.dtype_policy
        super().__init__(inputs=images, outputs=vision_encoder({name: images})[:, 0], **kwargs)
        self.vision_encoder = vision_encoder
        self.projection_dim = vision_encoder.hidden_dim

    def get_vision_embeddings(self, images: Any) -> Any:
        """Embeds normalised images, `(batch, height, width, 3)`; not of unit length."""
        return self(images)

    def save_to_preset(self, preset_dir: str, **kwargs: Any) -> None:
        """Saves the encoder alone, which keras-hub can load too."""
        self.vision_encoder.save_to_preset(preset_dir, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        encoder = keras.saving.serialize_keras_object(self.vision_encoder)
        return {**super().get_config(), "vision_encoder": encoder}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ImageBackbone:
        """Builds a backbone of random weights from what `get_config` returned."""
        encoder = keras.saving.deserialize_keras_object(config["vision_encoder"])
        return cls(**{**config, "vision_encoder": encoder})


def for_images_of(converter: Any, encoder: Any, preset: str) -> Any:
    """Returns an encoder of a preset for images as large as its image converter makes them.

    DINOv2 was trained on 518 pixels and is often used on 224. keras-hub interpolates its position
    embeddings.

    Args:
        converter: the image converter of the preset.
        encoder: its encoder, as keras-hub loaded it.
        preset: the preset.

    Raises:
        InputError: If the images are not square, or patches do not fill one.
    """
    shape = (*(converter.image_size or ()), 3)
    if len(set(shape[:-1])) != 1 or shape[0] % encoder.patch_size:
        raise InputError(
            f"{preset}: its image converter must make square images that patches of "
            f"{encoder.patch_size} pixels fill. Received: image_size={converter.image_size}"
        )
    if tuple(encoder.image_shape) == shape:
        return encoder
    return type(encoder).from_preset(preset, image_shape=shape)
