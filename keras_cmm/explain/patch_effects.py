"""What a decision owes to each patch of an image, without gradients.

The pooled token of a vision transformer is a sum: its attention layers add, for each patch, the
patch's value times its attention weight. Here what one patch added is taken out
of that sum, and the classifier is asked again. How far the class's lead falls is the effect of the
patch. This is the direct effect of Gandelsman et al., on the logits of the head.

References:
    - Gandelsman et al., Interpreting CLIP's Image Representation via Text-Based Decomposition,
      ICLR 2024, arXiv:2310.05916, section 4 (the sum over patches).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.clip.backbones import as_unit_rows, inference_mode
from keras_cmm.explain.decision_shares import logit_parts
from keras_cmm_runtime.errors import InputError

_TOWERS = ("CLIPVisionEncoder", "MetaCLIP2VisionEncoder")


def patch_effects(
    backbone: Any,
    head: Any,
    image: npt.NDArray[np.float32],
    class_id: int,
    late_layers: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Returns the effect of each patch on the lead of a class.

    The lead is the logit of the class minus the mean of all logits. It runs the layers of keras-hub
    themselves, so it gives the same on torch, JAX and TensorFlow.

    Args:
        backbone: a `CLIPBackbone` or `MetaCLIP2Backbone` with a vision transformer.
        head: a `CMMClassifier`.
        image: the preprocessed image, `(size, size, 3)`.
        class_id: the class.
        late_layers: the part of the layers, from the last, whose attention counts, in (0, 1]. The
            default was chosen on pictures composed of the demo's training pictures, see
            `examples/study_heat_maps.py`.

    Returns:
        `(rows, columns)` of patches. Above zero where a patch is for the class.

    Raises:
        InputError: if the image tower is no vision transformer with a class token.
        ValueError: if `late_layers` is out of range.
    """
    if not 0 < late_layers <= 1:
        raise ValueError(f"`late_layers` must be a number in (0, 1]. Received: {late_layers=}")
    refuse_other_towers(backbone)
    with inference_mode():
        pooled, effects = _pooled_and_effects(backbone.vision_encoder, image, late_layers)
        embedding = as_unit_rows(_embed(backbone, pooled))
        without = as_unit_rows(_embed(backbone, pooled - effects))
        lead = _lead(head, embedding, class_id) - _lead(head, without, class_id)
    side = round(len(lead) ** 0.5)
    return lead.reshape(side, side).astype("float32")


def refuse_other_towers(backbone: Any) -> None:
    """Raises an error for an image tower whose patches cannot be told apart.

    Raises:
        InputError: if it is a ResNet or one of SigLIP's.
    """
    encoder = backbone.vision_encoder
    known = {kind.__name__ for kind in type(encoder).__mro__}
    if not known & set(_TOWERS):
        raise InputError(
            "a heat map needs an image tower that is a vision transformer of CLIP or MetaCLIP 2, "
            "such as clip_vit_base_patch16. "
            f"Received: a {type(encoder).__name__}; give heat_map=False to explain without one."
        )


def _pooled_and_effects(
    encoder: Any, image: npt.NDArray[np.float32], late_layers: float
) -> tuple[Any, Any]:
    """Returns the class token, `(1, width)`, and what each patch added to it, `(patches, width)`.

    Both are before the last layer normalisation.
    """
    images = ops.convert_to_tensor(np.asarray(image, dtype="float32")[None])
    x = encoder.pre_layer_norm(encoder.embedding(images))
    layers = encoder.encoder_layers
    early = len(layers) - max(1, round(late_layers * len(layers)))
    total: Any = 0.0
    for number, layer in enumerate(layers):
        if number >= early:
            total = total + _effects_on_the_class_token(layer, x)
        x = layer(x)
    return ops.cast(x[:, 0], "float32"), total


def _effects_on_the_class_token(layer: Any, tokens: Any) -> Any:
    """Returns what the attention of one layer adds to the class token for each patch."""
    attention = layer.attention
    tokens = layer.layer_norm_1(tokens)
    query = attention.query_dense(tokens[:, :1])
    keys, values = attention.key_dense(tokens), attention.value_dense(tokens)
    scores = ops.einsum("bqhd,bkhd->bhqk", query, keys) / query.shape[-1] ** 0.5
    weights = ops.softmax(ops.cast(scores, "float32"), axis=-1)[:, :, 0]
    weighted = ops.transpose(weights, (0, 2, 1))[..., None] * ops.cast(values, "float32")
    # Through the layer itself, which may have LoRA. Its bias belongs to no patch.
    weighted = ops.cast(weighted, layer.compute_dtype)
    output = attention.output_dense
    effects = output(weighted) - output(ops.zeros_like(weighted))
    return ops.cast(effects[0, 1:], "float32")


def _embed(backbone: Any, pooled: Any) -> Any:
    """Returns the embeddings, `(rows, dim)`, of class tokens, in float32."""
    # MetaCLIP 2 has this layer in the backbone.
    norm = getattr(backbone.vision_encoder, "layer_norm", None) or backbone.vision_post_layer_norm
    centred = pooled - ops.mean(pooled, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    normed = centred / ops.sqrt(variance + norm.epsilon)
    normed = normed * ops.cast(norm.gamma, "float32") + ops.cast(norm.beta, "float32")
    # In half precision the effects, which are small, would be rounded away.
    return ops.matmul(normed, ops.cast(backbone.vision_projection.kernel, "float32"))


def _lead(head: Any, embeddings: npt.NDArray[np.float32], class_id: int) -> npt.NDArray[np.float64]:
    text, images = logit_parts(head, embeddings)
    logits = text + images
    return logits[:, class_id] - logits.mean(axis=1)
