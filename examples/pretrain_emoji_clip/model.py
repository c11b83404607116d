"""The model: keras-hub's CLIP backbone, and encoders that compute the same in less time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from pretrain_emoji_clip.captions import MAX_TOKENS
from pretrain_emoji_clip.rendering import SIZE


@dataclass
class Config:
    """All settings that decide the result of a run. The checkpoint holds them."""

    steps: int = 7000
    batch: int = 128
    people: float = 0.4  # Share of people in roles and activities in a batch.
    lr: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.1
    ema: float = 0.998
    keep: float = 0.5  # Share of the patches that the vision encoder sees (1 = all).
    whole: float = 0.12  # The last part of the run sees all of them.
    patch: int = 8
    width: int = 192
    depth: int = 7
    heads: int = 6
    text_width: int = 160
    text_depth: int = 4
    text_heads: int = 4
    projection: int = 192
    merges: int = 2200
    seed: int = 1
    without: str = ""  # A vendor to leave out and validate on.


def build_backbone(config: Config, vocabulary_size: int, dtype: str = "float32") -> Any:
    import keras
    import keras_hub

    keras.utils.set_random_seed(config.seed)
    vision = keras_hub.models.CLIPVisionEncoder(
        patch_size=config.patch,
        hidden_dim=config.width,
        num_layers=config.depth,
        num_heads=config.heads,
        intermediate_dim=4 * config.width,
        image_shape=(SIZE, SIZE, 3),
        dtype=dtype,
        name="clip_vision_encoder",
    )
    text = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=vocabulary_size,
        embedding_dim=config.text_width,
        hidden_dim=config.text_width,
        num_layers=config.text_depth,
        num_heads=config.text_heads,
        intermediate_dim=4 * config.text_width,
        max_sequence_length=MAX_TOKENS,
        dtype=dtype,
        name="clip_text_encoder",
    )
    return keras_hub.models.CLIPBackbone(
        vision, text, config.projection, dtype=dtype, name="emoji_clip_tiny"
    )


def start_values(backbone: Any) -> None:
    """Draws embeddings at CLIP's initial scale: Keras's default is too large for positions."""
    for variable in backbone.trainable_variables:
        value, path = variable.value, variable.path
        with torch.no_grad():
            if "embedding" in path and "patch" not in path:
                value.normal_(0, 0.02)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, is_causal: bool) -> torch.Tensor:
    """Computes attention plainly. For few tokens torch's fused kernel is up to six times slower."""
    n, heads, length, width = q.shape
    q, k, v = (t.reshape(n * heads, length, width) for t in (q, k, v))
    scores = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(width)
    if is_causal:
        scores = scores + torch.full((length, length), -1e4, dtype=q.dtype).triu(1)
    return torch.bmm(scores.softmax(-1), v).view(n, heads, length, width)


def block(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """Computes what `layer`, a keras-hub CLIPEncoderLayer, does: faster, in the dtype of `x`."""

    def get(variable: Any, *shape: int) -> torch.Tensor:
        value = variable.value.to(x.dtype)
        return value.reshape(shape) if shape else value

    n, length, width = x.shape
    attention, flat = layer.attention, (n * length, width)
    norm = layer.layer_norm_1
    y = F.layer_norm(x, (width,), get(norm.gamma), get(norm.beta), norm.epsilon).reshape(flat)
    parts = (attention._query_dense, attention._key_dense, attention._value_dense)
    kernel = torch.cat([get(p.kernel, width, width) for p in parts], 1)
    bias = torch.cat([get(p.bias, width) for p in parts])
    heads = attention._num_heads
    q, k, v = torch.addmm(bias, y, kernel).view(n, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    y = attend(q, k, v, layer.use_causal_mask)
    out = attention._output_dense
    kernel = get(out.kernel, width, width)
    x = x + torch.addmm(get(out.bias), y.transpose(1, 2).reshape(flat), kernel).view_as(x)
    norm = layer.layer_norm_2
    y = F.layer_norm(x, (width,), get(norm.gamma), get(norm.beta), norm.epsilon).reshape(flat)
    y = torch.addmm(get(layer.dense_1.bias), y, get(layer.dense_1.kernel))
    y = F.silu(1.702 * y) / 1.702  # Quick GELU.
    return x + torch.addmm(get(layer.dense_2.bias), y, get(layer.dense_2.kernel)).view_as(x)


def encode_pictures(
    backbone: Any, pictures: torch.Tensor, keep: float = 1.0, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Returns unit vectors of pictures, from a random share `keep` of the patches, as in FLIP."""
    encoder = backbone.vision_encoder
    x = encoder.embedding(pictures)
    if keep < 1:
        n, length, width = x.shape
        order = torch.rand(n, length - 1).argsort(1)[:, : round((length - 1) * keep)] + 1
        index = torch.cat([torch.zeros(n, 1, dtype=torch.long), order], 1)
        x = torch.gather(x, 1, index[..., None].expand(-1, -1, width))
    x = encoder.pre_layer_norm(x).to(dtype)
    for layer in encoder.encoder_layers:
        x = block(layer, x)
    pooled = encoder.layer_norm(x[:, 0].float())
    return F.normalize(backbone.vision_projection(pooled), dim=-1)


def encode_texts(
    backbone: Any, ids: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    encoder = backbone.text_encoder
    x = encoder.embedding(ids).to(dtype)
    for layer in encoder.encoder_layers:
        x = block(layer, x)
    x = encoder.layer_norm(x[torch.arange(len(ids)), ids.argmax(1)].float())
    return F.normalize(backbone.text_projection(x), dim=-1)


def encode_captions(backbone: Any, ids: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Encodes texts in two parts, so that the short ones are not padded to the longest."""
    lengths = ids.argmax(1) + 1
    order = lengths.argsort(stable=True)
    cut = int(len(ids) * 0.75)
    parts = [
        encode_texts(backbone, ids[part, : int(lengths[part].max())], dtype)
        for part in (order[:cut], order[cut:])
    ]
    return torch.cat(parts)[order.argsort()]


def check_equal(backbone: Any, pictures: torch.Tensor, ids: torch.Tensor) -> None:
    """Checks that the fast encoders agree with keras-hub's own."""
    with torch.no_grad():
        a = F.normalize(backbone.get_vision_embeddings(pictures), dim=-1)
        b = F.normalize(backbone.get_text_embeddings(ids), dim=-1)
        torch.testing.assert_close(encode_pictures(backbone, pictures), a, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(encode_texts(backbone, ids), b, atol=1e-4, rtol=1e-3)
