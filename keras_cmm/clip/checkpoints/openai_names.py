"""Renaming tensors from OpenAI's names, which OpenCLIP uses too, to those of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keras_cmm.clip.backbones import Weights

_WHOLE_NAMES = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_BLOCK_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TOWERS = {
    "transformer.resblocks.": "text_model.encoder.layers.",
    "visual.transformer.resblocks.": "vision_model.encoder.layers.",
}
# Kernels of projections. OpenAI has `(inputs, outputs)`, transformers `(outputs, inputs)`.
_PROJECTIONS = {
    "text_projection": "text_projection.weight",
    "visual.proj": "visual_projection.weight",
}


def with_transformers_names(weights: Weights) -> dict[str, Any]:
    """Renames the tensors of a CLIP state dict, and splits the tensors of attention into three.

    Args:
        weights: the tensors under OpenAI's names.

    Returns:
        The tensors under transformers' names. Tensors that transformers does not have, such as
        those of a ResNet, keep their names.

    Example:
        >>> import torch
        >>> list(with_transformers_names({"ln_final.bias": torch.zeros(3)}))
        ['text_model.final_layer_norm.bias']
    """
    renamed: dict[str, Any] = {}
    resnet = has_resnet_tower(weights)
    for name, tensor in weights.items():
        # The `visual.conv1` of a ResNet is another layer than that of a ViT.
        kept = resnet and name.startswith("visual.")
        renamed.update({name: tensor} if kept else _renamed(name, tensor))
    return renamed


def has_resnet_tower(weights: Weights) -> bool:
    """Returns whether the image tower of a state dict under OpenAI's names is a ResNet."""
    return any(name.startswith("visual.layer1.") for name in weights)


def _renamed(name: str, tensor: Any) -> Iterator[tuple[str, Any]]:
    if name in _WHOLE_NAMES:
        yield _WHOLE_NAMES[name], tensor
        return
    if name in _PROJECTIONS:
        yield _PROJECTIONS[name], tensor.T
        return
    for tower, new_tower in _TOWERS.items():
        if name.startswith(tower):
            number, _, part = name.removeprefix(tower).partition(".")
            yield from _renamed_in_block(f"{new_tower}{number}", part, tensor)
            return
    yield name, tensor


def _renamed_in_block(block: str, part: str, tensor: Any) -> Iterator[tuple[str, Any]]:
    stem, _, kind = part.rpartition(".")
    if stem in _BLOCK_NAMES:
        yield f"{block}.{_BLOCK_NAMES[stem]}.{kind}", tensor
    elif part in ("attn.in_proj_weight", "attn.in_proj_bias") and len(tensor) % 3 == 0:
        kind = part.rpartition("_")[2]
        for projection, third in zip(("q_proj", "k_proj", "v_proj"), tensor.chunk(3), strict=True):
            yield f"{block}.self_attn.{projection}.{kind}", third
    else:
        yield f"{block}.{part}", tensor
