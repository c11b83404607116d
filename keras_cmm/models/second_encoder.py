"""The second image encoder of a classifier."""

from __future__ import annotations

from typing import Any

import keras

from keras_cmm.clip import CLIPModel
from keras_cmm_runtime.errors import InputError


@keras.saving.register_keras_serializable(package="keras_cmm")
class SecondEncoder(keras.layers.Layer):
    """Embeds images beside CLIP, for the head of a `CMMImageClassifier`. It is frozen.

    Args:
        backbone: an image encoder, as `keras_cmm.clip.load` returns it. It may have a text tower,
            which is not used.
        image_converter: its image converter. Only the settings are used.
        **kwargs: the arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, image_size, image_size, 3)`, preprocessed pixels.

    Output shape:
        `(batch, dim)`, of unit length.
    """

    def __init__(self, backbone: Any, image_converter: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backbone = backbone
        self.image_converter = image_converter
        self.dim = int(backbone.projection_dim)
        self.unit_normalization = keras.layers.UnitNormalization(dtype="float32")
        self.trainable = False
        self.built = True

    @property
    def clip_model(self) -> CLIPModel:
        """What `ImageEmbedder` takes."""
        return CLIPModel(self.backbone, None, self.image_converter)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of an image's pixels."""
        return tuple(self.backbone.vision_encoder.image_shape)

    def call(self, images: Any) -> Any:
        """Embeds preprocessed pixels."""
        return self.unit_normalization(self.backbone.get_vision_embeddings(images))

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        """Returns the shape and dtype of the embeddings."""
        return keras.KerasTensor((images.shape[0], self.dim), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        serialize = keras.saving.serialize_keras_object
        parts = {
            "backbone": serialize(self.backbone),
            "image_converter": serialize(self.image_converter),
        }
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SecondEncoder:
        """Builds an encoder of random weights from what `get_config` returned."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("backbone", "image_converter")
        }
        return cls(**{**config, **parts})


def second_encoder(also: CLIPModel | SecondEncoder | None) -> SecondEncoder | None:
    """Returns the layer of the argument `also` of `CMMImageClassifier`."""
    if isinstance(also, CLIPModel):
        return SecondEncoder(also.backbone, also.image_converter, name="also_encoder")
    if also is not None and not isinstance(also, SecondEncoder):
        raise ValueError(
            "`also` must be what `keras_cmm.clip.load` returns, or None. "
            f"Received: a {type(also).__name__}"
        )
    return also


def refuse_second_encoder(classifier: Any, what: str) -> None:
    """Raises `InputError` if a classifier has a second encoder, where that cannot be used."""
    if classifier.also is not None:
        raise InputError(f"a classifier with a second encoder {what}.")
