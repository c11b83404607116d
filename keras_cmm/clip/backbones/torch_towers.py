"""The towers of keras-hub's CLIP as plain torch calls.

On the CPU, keras-hub's forward pass is slower than the same network in transformers. Each
projection of its attention is an `einsum`, which becomes a batched product and a separate pass for
the bias, and its activation takes three passes. Here one product computes queries, keys and values,
the products add the biases, the activation is one pass, and the last layer is computed only for the
token that is pooled.

A tower holds a copy of the weights, laid out for these calls. It is built once and used until the
weights of the backbone change; see `keras_cmm.clip.backbones.encoders`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_QUICK_GELU = 1.702  # OpenAI's CLIP has x * sigmoid(1.702 * x)


class VisionTower:
    """A `CLIPVisionEncoder` with its pooler and projection.

    The matrix products are computed in `dtype`. Layer norms, softmax and the sums between the
    layers are computed in float32.

    Args:
        backbone: a backbone whose layers `keras_cmm.clip.backbones.encoders` knows.
        dtype: dtype of the products.
    """

    def __init__(self, backbone: Any, dtype: torch.dtype) -> None:
        encoder = backbone.vision_encoder
        self.patch_size = encoder.patch_size
        kernel = _value(encoder.embedding.patch_embedding.kernel)
        self.patches = _Linear(kernel.reshape(-1, encoder.hidden_dim), None, dtype)
        # The numbers of the positions are a weight too. They are all zero in a backbone with random
        # weights.
        ids = encoder.embedding.position_ids.value[0].long()
        positions = _value(encoder.embedding.position_embedding.embeddings)[ids]
        self.class_token = _value(encoder.embedding.class_embedding) + positions[0]
        self.positions = positions[1:].contiguous()
        self.pre_norm = _LayerNorm(encoder.pre_layer_norm)
        self.blocks = [_Block(layer, dtype) for layer in encoder.encoder_layers]
        self.norm = _LayerNorm(encoder.layer_norm)
        self.projection = _Linear(_value(backbone.vision_projection.kernel), None, dtype)

    def __call__(self, images: Tensor) -> Tensor:
        """Embeds images.

        Args:
            images: normalised images, float32 `(batch, image_size, image_size, 3)`.

        Returns:
            Float32 `(batch, projection_dim)`, not normalised.
        """
        batch, size, channels = images.shape[0], self.patch_size, images.shape[3]
        side = images.shape[1] // size
        # The stride of the convolution is its width, so it is one product over separate patches.
        grid = images[:, : side * size, : side * size].reshape(
            batch, side, size, side, size, channels
        )
        patches = self.patches.inputs(grid.transpose(2, 3)).reshape(batch * side**2, -1)
        x = images.new_empty((batch, side**2 + 1, self.class_token.shape[0]))
        x[:, 0] = self.class_token
        torch.add(self.patches(patches).view(batch, side**2, -1), self.positions, out=x[:, 1:])
        x = self.pre_norm(x)
        for block in self.blocks[:-1]:
            x = block(x)
        pooled = torch.zeros(batch, dtype=torch.long, device=x.device)
        x = self.norm(self.blocks[-1].pooled(x, pooled, causal=False))
        return self.projection(self.projection.inputs(x)).float()


class TextTower:
    """A `CLIPTextEncoder` with its pooler and projection; see `VisionTower`.

    Args:
        backbone: a backbone whose layers `keras_cmm.clip.backbones.encoders` knows.
        dtype: dtype of the products.
    """

    def __init__(self, backbone: Any, dtype: torch.dtype) -> None:
        encoder = backbone.text_encoder
        self.tokens = _value(encoder.embedding.token_embedding.embeddings)
        self.positions = _value(encoder.embedding.position_embedding.position_embeddings)
        self.blocks = [_Block(layer, dtype) for layer in encoder.encoder_layers]
        self.norm = _LayerNorm(encoder.layer_norm)
        self.projection = _Linear(_value(backbone.text_projection.kernel), None, dtype)

    def __call__(self, token_ids: Tensor) -> Tensor:
        """Embeds texts.

        Args:
            token_ids: int `(batch, length)`. The end token must have the highest id.

        Returns:
            Float32 `(batch, projection_dim)`, not normalised.
        """
        x = F.embedding(token_ids, self.tokens) + self.positions[: token_ids.shape[1]]
        for block in self.blocks[:-1]:
            x = block(x, causal=True)
        x = self.norm(self.blocks[-1].pooled(x, token_ids.argmax(dim=1), causal=True))
        return self.projection(self.projection.inputs(x)).float()


class _Block:
    """A `CLIPEncoderLayer`."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        attention, width = layer.attention, layer.hidden_dim
        self.heads = layer.num_heads
        denses = (attention.query_dense, attention.key_dense, attention.value_dense)
        kernels = [_value(dense.kernel).reshape(width, width) for dense in denses]
        biases = [_value(dense.bias).reshape(width) for dense in denses]
        self.norm_1 = _LayerNorm(layer.layer_norm_1)
        self.qkv = _Linear(torch.cat(kernels, dim=1), torch.cat(biases), dtype)
        output = attention.output_dense
        self.output = _Linear(_value(output.kernel).reshape(width, width), output.bias, dtype)
        self.norm_2 = _LayerNorm(layer.layer_norm_2)
        kernel_1, bias_1 = _value(layer.dense_1.kernel), _value(layer.dense_1.bias)
        kernel_2 = _value(layer.dense_2.kernel)
        self.quick_gelu = layer.intermediate_activation == "quick_gelu"
        if self.quick_gelu:
            # With y = 1.702 x, x * sigmoid(1.702 x) = silu(y) / 1.702, and silu is one pass.
            kernel_1, bias_1 = kernel_1 * _QUICK_GELU, bias_1 * _QUICK_GELU
            kernel_2 = kernel_2 / _QUICK_GELU
        self.dense_1 = _Linear(kernel_1, bias_1, dtype)
        self.dense_2 = _Linear(kernel_2, layer.dense_2.bias, dtype)

    def __call__(self, x: Tensor, causal: bool = False) -> Tensor:
        """Runs the layer on `x`, float32 `(batch, length, width)`, and overwrites it."""
        batch, length, width = x.shape
        rows = x.view(batch * length, width)
        heads = (batch, length, 3, self.heads, width // self.heads)
        qkv = self.qkv(self.qkv.inputs(self.norm_1(rows))).view(heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=causal)
        rows += self.output(attended.transpose(1, 2).reshape(batch * length, width))
        return self._add_mlp(rows).view(batch, length, width)

    def pooled(self, x: Tensor, positions: Tensor, causal: bool) -> Tensor:
        """Runs the layer for the token at `positions`, int `(batch,)`, of each sequence."""
        batch, length, width = x.shape
        one = torch.arange(batch, device=x.device)
        rows = self.norm_1(x.view(batch * length, width))
        query, keys_values = self.qkv.split(width)
        heads = (batch, -1, self.heads, width // self.heads)
        q = query(query.inputs(rows.view(batch, length, width)[one, positions]))
        kv = keys_values(keys_values.inputs(rows)).view(batch, length, 2, *heads[2:])
        mask = None
        if causal:
            seen = torch.arange(length, device=x.device) <= positions[:, None]
            mask = seen[:, None, None, :]
        keys, values = kv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(
            q.view(heads).transpose(1, 2), keys, values, attn_mask=mask
        )
        return self._add_mlp(x[one, positions] + self.output(attended.reshape(batch, width)))

    def _add_mlp(self, rows: Tensor) -> Tensor:
        hidden = self.dense_1(self.dense_1.inputs(self.norm_2(rows)))
        hidden = F.silu(hidden, inplace=True) if self.quick_gelu else F.gelu(hidden)
        rows += self.dense_2(hidden)
        return rows


class _LayerNorm:
    """A `LayerNormalization` over the last axis, in float32."""

    def __init__(self, layer: Any) -> None:
        self.layer, self.gamma, self.beta = layer, _value(layer.gamma), _value(layer.beta)

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.gamma.shape, self.gamma, self.beta, self.layer.epsilon)


class _Linear:
    """A dense layer with a kernel `(inputs, outputs)`, applied to rows."""

    def __init__(self, kernel: Tensor, bias: Any, dtype: torch.dtype) -> None:
        self.weight = kernel.T.to(dtype).contiguous()
        self.bias = None if bias is None else _value(bias).to(dtype)
        # torch has no fast float16 products on CPUs, so the rounded weights become float32 again.
        if dtype == torch.float16 and kernel.device.type == "cpu":
            self.weight = self.weight.float()
            self.bias = None if self.bias is None else self.bias.float()

    def split(self, outputs: int) -> Sequence[_Linear]:
        """Returns the layers of the first `outputs` outputs and of the rest, without copies."""
        halves = []
        for part in (slice(None, outputs), slice(outputs, None)):
            half = object.__new__(_Linear)
            half.weight = self.weight[part]
            half.bias = None if self.bias is None else self.bias[part]
            halves.append(half)
        return halves

    def inputs(self, rows: Tensor) -> Tensor:
        return rows.to(self.weight.dtype)

    def __call__(self, rows: Tensor) -> Tensor:
        if (
            rows.device.type != "cpu"
            or rows.dtype != torch.float32
            or not torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        ):
            return F.linear(rows, self.weight, self.bias)
        # On CPUs torch multiplies float32 with MKL, which is slower on AMD's and copies the bias
        # first. A convolution of width one is the same sum, and oneDNN computes it with the bias.
        pixels = rows.T[None, :, :, None]
        return F.conv2d(pixels, self.weight[:, :, None, None], self.bias)[0, :, :, 0].T


def _value(variable: Any) -> Tensor:
    """Returns a Keras variable or a tensor as float32. A float32 tensor is not copied."""
    tensor: Tensor = variable if isinstance(variable, Tensor) else variable.value
    return tensor.detach().float()
