"""What this package asks of a backbone, for those of keras-hub that differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_cmm.errors import InputError

# The head with the logit scale, by the backbone's class.
_HEADS = {
    "CLIPBackbone": "clip_head",
    "SigLIPBackbone": "siglip_head",
    "MetaCLIP2Backbone": "metaclip_2_head",
}


def prepare_backbone(backbone: Any) -> Any:
    """Gives a keras-hub backbone what it lacks of the interface that all have here.

    Every backbone offers `get_vision_embeddings(images)`, `get_text_embeddings(token_ids)` and
    `projection_dim`. SigLIP's has no `projection_dim`. CLIP's ends its text tower with a layer
    normalisation of epsilon 1e-6 where all CLIP models were trained with 1e-5.

    Args:
        backbone: a `CLIPBackbone`, `SigLIPBackbone` or `MetaCLIP2Backbone` of keras-hub.

    Returns:
        The same backbone.

    Raises:
        InputError: If it is of another class.

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
    """Returns what a CLIP backbone multiplies cosine similarities by, about 100 for OpenAI's.

    SigLIP adds a bias too, the same for all classes, which a softmax over them does not see.

    Args:
        backbone: a backbone as `keras_cmm.clip.load` returns it.

    Returns:
        The scale; the backbone stores its logarithm.
    """
    return float(np.exp(ops.convert_to_numpy(_head(backbone).logit_scale)))


def _head(backbone: Any) -> Any:
    # By name, so that nothing is imported; a subclass counts as its base.
    for kind in type(backbone).__mro__:
        if kind.__name__ in _HEADS:
            return getattr(backbone, _HEADS[kind.__name__])
    raise InputError(
        f"the backbone must be a {', '.join(_HEADS)} of keras-hub. "
        f"Received: a {type(backbone).__name__}"
    )
