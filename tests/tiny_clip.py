"""A CLIP preset of a few thousand random parameters, for tests of the real loading code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

IMAGE_SIZE = 32
DIM = 16


def make_tiny_backbone(seed: int = 0) -> Any:
    import keras
    import keras_hub

    vocabulary, _ = tiny_vocabulary()
    keras.utils.set_random_seed(seed)
    vision = keras_hub.models.CLIPVisionEncoder(
        patch_size=8,
        hidden_dim=24,
        num_layers=2,
        num_heads=2,
        intermediate_dim=48,
        image_shape=(IMAGE_SIZE, IMAGE_SIZE, 3),
        name="clip_vision_encoder",
    )
    text = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=len(vocabulary),
        embedding_dim=20,
        hidden_dim=20,
        num_layers=2,
        num_heads=2,
        intermediate_dim=40,
        max_sequence_length=24,
        name="clip_text_encoder",
    )
    return keras_hub.models.CLIPBackbone(vision, text, projection_dim=DIM)


def tiny_vocabulary() -> tuple[dict[str, int], list[str]]:
    """Bytes, bytes that end a word, two merges, and the special tokens last, as CLIP has them."""
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
        sequence_length=24,
    )
    make_tiny_backbone(seed).save_to_preset(str(directory))
    preprocessor.save_to_preset(str(directory))
    return Path(directory)
