"""The backbone of a model that another library runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import keras_hub

from keras_cmm.clip.libraries.torch_tower import TorchTower


@keras.saving.register_keras_serializable(package="keras_cmm")
class TorchBackbone(keras_hub.models.Backbone):
    """A frozen model of OpenCLIP, timm or transformers, run by that library itself.

    It is for models that keras-hub has no backbone for, on the torch backend. It has the interface
    of the others: `get_vision_embeddings`, `get_text_embeddings` and `projection_dim`. The weights
    are Keras variables. A saved backbone holds the architecture and the weights; to load it, the
    library must be installed.

    Args:
        library: `"open_clip"`, `"timm"` or `"transformers"`.
        architecture: what the library builds the model from: JSON, or an object that JSON can hold.
        dtype: dtype or dtype policy, or `None` for Keras's.
        name: str or `None`.
        **kwargs: `trainable`, which is without effect.

    Raises:
        InputError: If the backend is not torch, the library is missing, or it cannot build this.

    Example:
        >>> import open_clip  # doctest: +SKIP
        >>> config = open_clip.get_model_config("MobileCLIP2-S0")  # doctest: +SKIP
        >>> TorchBackbone("open_clip", {"model_cfg": config}).projection_dim  # doctest: +SKIP
        512
    """

    def __init__(
        self,
        library: str,
        architecture: str | Mapping[str, Any],
        dtype: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        tower = TorchTower(library, architecture, dtype=dtype, name="torch_tower")
        kwargs.pop("trainable", None)
        images = keras.Input(shape=tower.image_shape, name="images")
        super().__init__(
            inputs=images, outputs=tower(images), dtype=dtype, name=name, trainable=False, **kwargs
        )
        self.tower = tower
        self.projection_dim = tower.projection_dim

    @property
    def vision_encoder(self) -> TorchTower:
        """The image tower, with `image_shape`."""
        return self.tower

    @property
    def text_encoder(self) -> TorchTower | None:
        """The text tower, with `max_sequence_length` and `vocabulary_size`, or `None`."""
        return self.tower if self.tower.has_texts else None

    def get_vision_embeddings(self, images: Any) -> Any:
        """Embeds normalised images, `(batch, height, width, 3)`; not of unit length."""
        return self.tower(images)

    def get_text_embeddings(self, token_ids: Any) -> Any:
        """Embeds token ids, `(batch, length)`; not of unit length."""
        return self.tower.embed_texts(keras.ops.convert_to_tensor(token_ids))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        config = super().get_config()
        config.update({"library": self.tower.library, "architecture": self.tower.architecture})
        return config
