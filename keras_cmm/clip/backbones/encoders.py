"""The fastest way to a backbone's embeddings that gives the same ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_cmm.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")


class _Encoder:
    """A tower of a backbone; the backbone's own method where the fast one cannot be trusted.

    The fast one is for keras-hub's own CLIP layers on the torch backend, neither quantised nor with
    LoRA. It holds the weights a second time, and takes them anew when they have been changed.

    Args:
        backbone: a CLIP backbone.
        dtype: of the products, one of `DTYPES`; `None` for the backbone's own.

    Raises:
        InputError: If `dtype` is another one.
    """

    def __init__(self, backbone: Any, dtype: str | None = None) -> None:
        if dtype is not None and dtype not in DTYPES:
            raise InputError(f"`dtype` must be one of {DTYPES} or None. Received: dtype={dtype!r}")
        self.backbone = backbone
        self.dtype = dtype
        self._tower: Callable[[Any], Any] | None = None
        self._made_of: list[tuple[Any, int]] = []

    def _fast_tower(self, kind: str, encoder: Any, known: list[Any] | None) -> Any:
        """Returns the tower of the weights as they are now, or None."""
        weights = None if known is None else _torch_weights(known, encoder.compute_dtype)
        if weights is None:
            self._tower, self._made_of = None, []
            if self.dtype not in (None, self.backbone.compute_dtype):
                raise InputError(
                    f"this model can only be used in the dtype it was loaded with, "
                    f"{self.backbone.compute_dtype}; load it with dtype={self.dtype!r} instead."
                )
            return None
        if not _same(weights, self._made_of):
            import torch

            from keras_cmm.clip.backbones import torch_towers

            self._tower = None  # Two copies of the weights are enough.
            dtype = getattr(torch, self.dtype or encoder.compute_dtype)
            self._tower = getattr(torch_towers, kind)(self.backbone, dtype)
            self._made_of = weights
        return self._tower


class VisionEncoder(_Encoder):
    """Embeds images, see `_Encoder`."""

    def __call__(self, images: Any) -> Any:
        """Embeds images; call it in `inference_mode`.

        Args:
            images: normalised, float32 `(batch, image_size, image_size, 3)`.

        Returns:
            A tensor of shape `(batch, projection_dim)`, not normalised.
        """
        images = ops.convert_to_tensor(images)
        tower = self._fast_tower(
            "VisionTower", self.backbone.vision_encoder, _vision_layers(self.backbone)
        )
        # The backbone itself refuses images of another size. Shapes from a preset are lists.
        expected = tuple(self.backbone.vision_encoder.image_shape)
        if tower is None or tuple(images.shape[1:]) != expected:
            return self.backbone.get_vision_embeddings(images)
        return tower(images)


class TextEncoder(_Encoder):
    """Embeds texts, see `_Encoder`."""

    def __call__(self, token_ids: Any) -> Any:
        """Embeds texts; call it in `inference_mode`.

        Args:
            token_ids: int `(batch, length)`.

        Returns:
            A tensor of shape `(batch, projection_dim)`, not normalised.
        """
        token_ids = ops.convert_to_tensor(token_ids)
        tower = self._fast_tower(
            "TextTower", self.backbone.text_encoder, _text_layers(self.backbone)
        )
        return self.backbone.get_text_embeddings(token_ids) if tower is None else tower(token_ids)


def _vision_layers(backbone: Any) -> list[Any] | None:
    """Returns all layers that hold weights of the vision tower, or None if they are not known."""
    models = _keras_hub_clip(backbone)
    if models is None:
        return None
    encoder = backbone.vision_encoder
    if (
        type(encoder) is not models.CLIPVisionEncoder
        or encoder.intermediate_output_index is not None
        or encoder.embedding.data_format != "channels_last"
    ):
        return None
    embedding = encoder.embedding
    layers = [
        embedding,
        embedding.patch_embedding,
        embedding.position_embedding,
        encoder.pre_layer_norm,
        encoder.layer_norm,
        backbone.vision_projection,
    ]
    return _with_blocks(layers, encoder)


def _text_layers(backbone: Any) -> list[Any] | None:
    """Returns all layers that hold weights of the text tower, or None if they are not known."""
    models = _keras_hub_clip(backbone)
    if models is None:
        return None
    encoder = backbone.text_encoder
    if (
        type(encoder) is not models.CLIPTextEncoder
        or encoder.intermediate_output_index is not None
        or encoder.embedding_dim != encoder.hidden_dim
    ):
        return None
    embedding = encoder.embedding
    layers = [
        embedding.token_embedding,
        embedding.position_embedding,
        encoder.layer_norm,
        backbone.text_projection,
    ]
    return _with_blocks(layers, encoder)


def _keras_hub_clip(backbone: Any) -> Any:
    """Returns `keras_hub.models` if it is the maker of the backbone, on the torch backend."""
    if keras.backend.backend() != "torch" or "keras_hub" not in sys.modules:
        return None
    models = sys.modules["keras_hub"].models
    return models if type(backbone) is models.CLIPBackbone else None


def _with_blocks(layers: list[Any], encoder: Any) -> list[Any] | None:
    for block in encoder.encoder_layers:
        if block.intermediate_activation not in ("quick_gelu", "gelu"):
            return None
        attention = block.attention
        denses = (attention.query_dense, attention.key_dense, attention.value_dense)
        layers += [block.layer_norm_1, *denses, attention.output_dense]
        layers += [block.layer_norm_2, block.dense_1, block.dense_2]
    return layers


def _torch_weights(layers: list[Any], dtype: str) -> list[tuple[Any, int]] | None:
    """Returns the weights with torch's count of their changes, or None where more is at work."""
    weights = []
    for layer in layers:
        if (
            getattr(layer, "quantization_mode", None)
            or getattr(layer, "lora_enabled", False)
            or layer.compute_dtype != dtype
        ):
            return None
        tensors = [variable.value for variable in layer.variables]
        # torch counts no changes of tensors that were made in inference mode.
        if any(tensor.is_inference() for tensor in tensors):
            return None
        weights += [(tensor, tensor._version) for tensor in tensors]
    return weights


def _same(weights: list[tuple[Any, int]], others: list[tuple[Any, int]]) -> bool:
    return len(weights) == len(others) and all(
        tensor is other and version == other_version
        for (tensor, version), (other, other_version) in zip(weights, others, strict=True)
    )
