"""One interface for the CLIP backbones of keras-hub."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_cmm_runtime.errors import InputError

# The layer that holds the logit scale, by the class of the backbone.
_HEADS = {
    "CLIPBackbone": "clip_head",
    "SigLIPBackbone": "siglip_head",
    "MetaCLIP2Backbone": "metaclip_2_head",
    "ImageBackbone": "vision_encoder",
    "TorchBackbone": "tower",
}


def prepare_backbone(backbone: Any) -> Any:
    """Gives a keras-hub backbone the interface that this package needs.

    The interface is `get_vision_embeddings(images)`, `get_text_embeddings(token_ids)` and
    `projection_dim`, which keras-hub's SigLIP lacks. In keras-hub's CLIP the last layer
    normalisation of the text tower has the epsilon 1e-6. It is set to 1e-5, with which all CLIP
    models were trained.

    Args:
        backbone: a `CLIPBackbone`, `SigLIPBackbone` or `MetaCLIP2Backbone` of keras-hub, or an
            `ImageBackbone` or `TorchBackbone`, which have the interface already.

    Returns:
        The same backbone.

    Raises:
        InputError: If the backbone has another class.

    References:
        https://github.com/openai/CLIP, clip/model.py, `LayerNorm`.
    """
    _head(backbone)
    import keras_hub

    if isinstance(backbone, keras_hub.models.CLIPBackbone):
        backbone.text_encoder.layer_norm.epsilon = 1e-5
    if isinstance(backbone, keras_hub.models.SigLIPBackbone):
        backbone.projection_dim = backbone.text_encoder.projection_dim
    return backbone


def logit_scale(backbone: Any) -> float:
    """Returns the logit scale: the factor of the cosine similarities, about 100 in OpenAI's models.

    SigLIP also adds a bias. It is the same for all classes and does not change their softmax.

    Args:
        backbone: a backbone as `keras_cmm.clip.load` returns it.

    Returns:
        The scale. The backbone holds its logarithm.
    """
    return float(np.exp(ops.convert_to_numpy(_head(backbone).logit_scale)))


def _head(backbone: Any) -> Any:
    # Compares names, so that keras-hub is not imported. A subclass has the head of its base.
    for kind in type(backbone).__mro__:
        if kind.__name__ in _HEADS:
            return getattr(backbone, _HEADS[kind.__name__])
    raise InputError(
        f"`backbone` must be one of keras-hub's {', '.join(_HEADS)}. "
        f"Received: a {type(backbone).__name__}"
    )
