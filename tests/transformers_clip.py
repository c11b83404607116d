"""CLIP models of transformers with random weights, in the shapes of the published models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tiny_clip import tiny_vocabulary


class Size(NamedTuple):
    """A published size, without its numbers of layers and heads."""

    head_dim: int
    activation: str
    patch_size: int
    image_size: int
    mlp_ratio: float = 4.0


TEXT_HEAD_DIM = 64
SIZES = {
    "ViT-B/32": Size(64, "quick_gelu", 32, 96),
    "ViT-B/16": Size(64, "quick_gelu", 16, 48),
    "ViT-L/14": Size(64, "quick_gelu", 14, 42),
    "ViT-L/14-336": Size(64, "quick_gelu", 14, 70),
    "ViT-H/14": Size(80, "gelu", 14, 42),
    "ViT-g/14": Size(88, "gelu", 14, 42, 4.3637),
    "ViT-bigG/14": Size(104, "gelu", 14, 42, 4.9231),
}


def make_model(size: str, seed: int = 0) -> Any:
    """Returns a `CLIPModel` of two layers in which every parameter is random."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    traits = SIZES[size]
    vocabulary, _ = tiny_vocabulary()
    width, text_width = 2 * traits.head_dim, TEXT_HEAD_DIM
    config = CLIPConfig(
        projection_dim=40,
        vision_config={
            "hidden_size": width,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "intermediate_size": int(width * traits.mlp_ratio),
            "hidden_act": traits.activation,
            "image_size": traits.image_size,
            "patch_size": traits.patch_size,
        },
        text_config={
            "hidden_size": text_width,
            "num_attention_heads": 1,
            "num_hidden_layers": 2,
            "intermediate_size": 4 * text_width,
            "hidden_act": traits.activation,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": 24,
            "bos_token_id": vocabulary["<|startoftext|>"],
            "eos_token_id": vocabulary["<|endoftext|>"],
        },
    )
    model = CLIPModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        # transformers leaves biases at zero and norms at one, where a mix-up would not show.
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def save_checkpoint(
    folder: Path, model: Any, vocabulary_and_merges: Any = None, **kwargs: Any
) -> Path:
    """Saves a model with tokenizer and image processor. `kwargs` are those of `save_pretrained`."""
    from transformers import CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model.save_pretrained(folder, **kwargs)
    vocabulary, merges = vocabulary_and_merges or tiny_vocabulary()
    pairs = [tuple(rule.split(" ")) for rule in merges]
    CLIPTokenizer(vocab=dict(vocabulary), merges=pairs).save_pretrained(folder)
    side = model.config.vision_config.image_size
    CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    ).save_pretrained(folder)
    return folder


def image_embeddings(model: Any, folder: Path, images: list[Image.Image]) -> np.ndarray:
    """Returns transformers' embeddings of images, rows of unit length."""
    import torch
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    pixels = CLIPImageProcessorPil.from_pretrained(folder)(images, return_tensors="pt")
    with torch.inference_mode():
        return _unit_rows(model.get_image_features(**pixels))


def text_embeddings(model: Any, folder: Path, texts: list[str]) -> np.ndarray:
    """Returns transformers' embeddings of texts, rows of unit length."""
    import torch
    from transformers import CLIPTokenizer

    length = model.config.text_config.max_position_embeddings
    tokens = CLIPTokenizer.from_pretrained(folder)(
        texts, padding=True, truncation=True, max_length=length, return_tensors="pt"
    )
    with torch.inference_mode():
        return _unit_rows(model.get_text_features(**tokens))


def _unit_rows(output: Any) -> np.ndarray:
    rows = output.pooler_output.numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pictures(count: int = 4) -> list[Image.Image]:
    """Returns pictures of noise, wide and high ones."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (40 + 13 * n, 90 - 11 * n, 3), dtype="uint8"))
        for n in range(count)
    ]


def refused(folder: Path, message: str) -> None:
    """Checks that a folder is not loaded, and that the one line of the error names it."""
    import pytest

    from keras_cmm import clip
    from keras_cmm_runtime.errors import InputError

    with pytest.raises(InputError, match=message) as caught:
        clip.load(folder)
    assert "\n" not in str(caught.value)
    assert folder.name in str(caught.value)


def lie(path: Path, change: Any) -> None:
    """Rewrites the header of a safetensors file."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    change(header)
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + content[8 + size :])
