"""The fastest way to the embeddings of a backbone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_cmm.clip.backbones.settings import ACTIVATIONS
from keras_cmm_runtime.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")


class _Encoder:
    """Embeds with one tower of a backbone.

    On the torch backend, keras-hub's own CLIP layers run as a tower of `torch_towers`, which is
    faster and gives the same embeddings. The tower holds a copy of the weights, and is built again
    after they change. All else runs by the backbone's own method: other backends, subclasses, and
    layers that are quantised or have LoRA.

    Args:
        backbone: a CLIP backbone.
        dtype: dtype of the matrix products, one of `DTYPES`. `None` for the backbone's own.

    Raises:
        InputError: If `dtype` is none of them.
    """

    def __init__(self, backbone: Any, dtype: str | None = None) -> None:
        if dtype is not None and dtype not in DTYPES:
            raise InputError(f"`dtype` must be one of {DTYPES} or None. Received: dtype={dtype!r}")
        self.backbone = backbone
        self.dtype = dtype
        self._tower: Callable[[Any], Any] | None = None
        self._made_of: list[tuple[Any, int]] = []

    @property
    def is_fast(self) -> bool:
        """Whether the last batch ran on a tower of `torch_towers`."""
        return self._tower is not None

    def release(self) -> None:
        """Frees the copy of the weights, for one that will not be needed soon."""
        self._tower, self._made_of = None, []

    def _fast_tower(self, kind: str, encoder: Any, known: list[Any] | None) -> Any:
        """Returns the fast tower of the current weights, or `None` if it cannot be fast."""
        weights = None if known is None else torch_weights(known, encoder.compute_dtype)
        if weights is None:
            self.release()
            if self.dtype not in (None, self.backbone.compute_dtype):
                raise InputError(
                    "`dtype` must be None or the dtype that this model was loaded with, "
                    f"{self.backbone.compute_dtype!r}. Received: dtype={self.dtype!r}; load the "
                    f"model with dtype={self.dtype!r} instead."
                )
            return None
        if not same_weights(weights, self._made_of):
            import torch

            from keras_cmm.clip.backbones import torch_towers

            self._tower = None  # frees the old copy of the weights before the new one is made
            dtype = getattr(torch, self.dtype or encoder.compute_dtype)
            self._tower = getattr(torch_towers, kind)(self.backbone, dtype)
            self._made_of = weights
        return self._tower


class VisionEncoder(_Encoder):
    """Embeds images, see `_Encoder`."""

    def __call__(self, images: Any) -> Any:
        """Embeds images; must be called in `inference_mode`.

        Args:
            images: normalised images, float32 `(batch, image_size, image_size, 3)`.

        Returns:
            A tensor of shape `(batch, projection_dim)`, not normalised.
        """
        images = ops.convert_to_tensor(images)
        encoder = self.backbone.vision_encoder
        tower = self._fast_tower("VisionTower", encoder, _vision_layers(self.backbone))
        # For images of another size the backbone raises its own error. A preset has the shape as a
        # list.
        if tower is None or tuple(images.shape[1:]) != tuple(encoder.image_shape):
            return self.backbone.get_vision_embeddings(images)
        return tower(images)


class TextEncoder(_Encoder):
    """Embeds texts, see `_Encoder`."""

    def __call__(self, token_ids: Any) -> Any:
        """Embeds texts; must be called in `inference_mode`.

        Args:
            token_ids: int `(batch, length)`.

        Returns:
            A tensor of shape `(batch, projection_dim)`, not normalised.
        """
        token_ids = ops.convert_to_tensor(token_ids)
        encoder = self.backbone.text_encoder
        tower = self._fast_tower("TextTower", encoder, _text_layers(self.backbone))
        return self.backbone.get_text_embeddings(token_ids) if tower is None else tower(token_ids)


def _vision_layers(backbone: Any) -> list[Any] | None:
    """Returns all layers with weights of the image tower, or `None` if it cannot be fast."""
    encoder = backbone.vision_encoder
    if (
        not _is_keras_hubs(backbone, encoder, "CLIPVisionEncoder")
        or encoder.embedding.data_format != "channels_last"
    ):
        return None
    embedding = encoder.embedding
    return [
        embedding,
        embedding.patch_embedding,
        embedding.position_embedding,
        encoder.pre_layer_norm,
        encoder.layer_norm,
        backbone.vision_projection,
        *_block_layers(encoder),
    ]


def _text_layers(backbone: Any) -> list[Any] | None:
    """Returns all layers with weights of the text tower, or `None` if it cannot be fast."""
    encoder = backbone.text_encoder
    if (
        not _is_keras_hubs(backbone, encoder, "CLIPTextEncoder")
        or encoder.embedding_dim != encoder.hidden_dim
    ):
        return None
    return [
        encoder.embedding.token_embedding,
        encoder.embedding.position_embedding,
        encoder.layer_norm,
        backbone.text_projection,
        *_block_layers(encoder),
    ]


def _is_keras_hubs(backbone: Any, encoder: Any, kind: str) -> bool:
    """Returns whether backbone and encoder are keras-hub's CLIP, as `torch_towers` needs it."""
    if keras.backend.backend() != "torch" or "keras_hub" not in sys.modules:
        return False
    models = sys.modules["keras_hub"].models
    return (
        type(backbone) is models.CLIPBackbone
        and type(encoder) is getattr(models, kind)
        and encoder.intermediate_output_index is None
        and all(block.intermediate_activation in ACTIVATIONS for block in encoder.encoder_layers)
    )


def _block_layers(encoder: Any) -> list[Any]:
    layers = []
    for block in encoder.encoder_layers:
        attention = block.attention
        layers += [attention.query_dense, attention.key_dense, attention.value_dense]
        layers += [attention.output_dense, block.dense_1, block.dense_2]
        layers += [block.layer_norm_1, block.layer_norm_2]
    return layers


def torch_weights(layers: list[Any], dtype: str) -> list[tuple[Any, int]] | None:
    """Returns each weight with torch's count of its changes, or `None` if a layer is not plain."""
    weights = []
    for layer in layers:
        if (
            getattr(layer, "quantization_mode", None)
            or getattr(layer, "lora_enabled", False)
            or layer.compute_dtype != dtype
        ):
            return None
        tensors = [variable.value for variable in layer.variables]
        # torch does not count the changes of tensors that were made in inference mode.
        if any(tensor.is_inference() for tensor in tensors):
            return None
        weights += [(tensor, tensor._version) for tensor in tensors]
    return weights


def same_weights(weights: list[tuple[Any, int]], others: list[tuple[Any, int]]) -> bool:
    """Returns whether two results of `torch_weights` are of the same weights, unchanged."""
    return len(weights) == len(others) and all(
        tensor is other and version == other_version
        for (tensor, version), (other, other_version) in zip(weights, others, strict=True)
    )
