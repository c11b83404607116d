"""The image settings of a model that another library runs."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub

from keras_cmm.clip.libraries.torch_backbone import TorchBackbone


@keras.saving.register_keras_serializable(package="keras_cmm")
class TorchImageConverter(keras_hub.layers.ImageConverter):
    """The image settings of a `TorchBackbone`; see `keras_cmm.clip.ImagePreprocessor`.

    Args:
        resize_size: int or `None`; see `ImagePreprocessor`.
        crop_rounding: `"down"` or `"even"`; see `ImagePreprocessor`.
        **kwargs: the other arguments of `keras_hub.layers.ImageConverter`.
    """

    backbone_cls = TorchBackbone

    def __init__(
        self, resize_size: int | None = None, crop_rounding: str = "down", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.resize_size = resize_size
        self.crop_rounding = crop_rounding

    @classmethod
    def of(cls, converter: Any, **settings: Any) -> TorchImageConverter:
        """Makes one with the settings of a converter of keras-hub, and those given."""
        config = converter.get_config()
        kept = (
            "image_size",
            "scale",
            "offset",
            "interpolation",
            "antialias",
            "crop_to_aspect_ratio",
            "pad_to_aspect_ratio",
        )
        return cls(**{name: config[name] for name in kept}, **settings)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        config = super().get_config()
        config.update({"resize_size": self.resize_size, "crop_rounding": self.crop_rounding})
        return config
