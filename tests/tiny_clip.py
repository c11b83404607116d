"""A CLIP preset of a few thousand random parameters, for tests of the real loading code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

IMAGE_SIZE = 32
DIM = 16


def make_backbone(
    vision_width: int = 24,
    text_width: int = 20,
    vocabulary_size: int = 40,
    length: int = 77,
    patch_size: int = 8,
    layers: int = 2,
    seed: int = 0,
    **settings: Any,
) -> Any:
    """Returns a CLIP backbone of random weights; `settings` are of both encoders."""
    import keras
    import keras_hub

    keras.utils.set_random_seed(seed)
    settings = {"num_layers": layers, "num_heads": 2} | settings
    vision = keras_hub.models.CLIPVisionEncoder(
        patch_size=patch_size,
        hidden_dim=vision_width,
        intermediate_dim=2 * vision_width,
        image_shape=(IMAGE_SIZE, IMAGE_SIZE, 3),
        name="clip_vision_encoder",
        **settings,
    )
    text = make_text_encoder(text_width, vocabulary_size, length, **settings)
    dtype = settings.get("dtype")
    return keras_hub.models.CLIPBackbone(vision, text, projection_dim=DIM, dtype=dtype)


def make_text_encoder(width: int, vocabulary_size: int, length: int, **settings: Any) -> Any:
    """Returns a CLIP text encoder of random weights."""
    import keras_hub

    return keras_hub.models.CLIPTextEncoder(
        vocabulary_size=vocabulary_size,
        embedding_dim=width,
        hidden_dim=width,
        intermediate_dim=2 * width,
        max_sequence_length=length,
        name="clip_text_encoder",
        **settings,
    )


def make_tiny_backbone(seed: int = 0) -> Any:
    """Returns the backbone of the preset."""
    return make_backbone(vocabulary_size=len(tiny_vocabulary()[0]), seed=seed)


def tiny_vocabulary() -> tuple[dict[str, int], list[str]]:
    """Returns a vocabulary in CLIP's order, with two merges, and the merges.

    The order is: bytes, bytes that end a word, merges, special tokens.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    characters = sorted(ByteLevel.alphabet())
    merges = ["a t</w>", "o g</w>"]
    tokens = [
        *characters,
        *(f"{character}</w>" for character in characters),
        *(merge.replace(" ", "") for merge in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    return {token: index for index, token in enumerate(tokens)}, merges


def make_tiny_preset(directory: str | Path, seed: int = 0) -> Path:
    """Saves the preset and returns its folder."""
    import keras_hub

    vocabulary, merges = tiny_vocabulary()
    preprocessor = keras_hub.models.CLIPPreprocessor(
        keras_hub.models.CLIPTokenizer(vocabulary=vocabulary, merges=merges),
        keras_hub.layers.CLIPImageConverter(
            image_size=(IMAGE_SIZE, IMAGE_SIZE),
            scale=[1 / 255 / std for std in (0.26862954, 0.26130258, 0.27577711)],
            offset=[
                -mean / std
                for mean, std in zip(
                    (0.48145466, 0.4578275, 0.40821073),
                    (0.26862954, 0.26130258, 0.27577711),
                    strict=True,
                )
            ],
            interpolation="bicubic",
            crop_to_aspect_ratio=True,
        ),
        sequence_length=77,
    )
    make_tiny_backbone(seed).save_to_preset(str(directory))
    preprocessor.save_to_preset(str(directory))
    return Path(directory)
