"""A preset or checkpoint that can be named."""

from __future__ import annotations

from typing import NamedTuple


class Preset(NamedTuple):
    """What is known about a model that `keras_cmm.clip.load` loads by name.

    Args:
        name: what `--preset` and `load` take.
        source: `"bundled"` in this package, `"keras-hub"`, or a model of `"transformers"` or
            `"OpenCLIP"` on the Hugging Face hub.
        parameters_millions: float. Of all towers, or `None` where it is not known.
        image_size: int, pixels.
        embedding_dim: int. Length of the embeddings, or `None` where it is not known.
        licence: of the weights, as the Hugging Face hub writes it. `"other"` is one of their own.
        imagenet_top1: float. Zero-shot top-1 on ImageNet in per cent as published, or `None` where
            no publication was found.
        imagenet_source: the address of the publication, or `""`.
        good_for: what the model is good for, in a few words.

    Example:
        >>> from keras_cmm_runtime.presets import known_presets
        >>> known_presets()[0].name
        'emoji_clip_tiny'
    """

    name: str
    source: str
    parameters_millions: float | None
    image_size: int
    embedding_dim: int | None
    licence: str
    imagenet_top1: float | None
    imagenet_source: str
    good_for: str
