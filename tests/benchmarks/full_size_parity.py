"""Compares embeddings of CLIP models of full size with those of transformers.

Makes a `CLIPModel` of transformers with random weights for each size, saves it in shards, loads it
with `keras_cmm.clip.load`, and prints the largest difference of an embedding's component.

    python tests/benchmarks/full_size_parity.py ViT-B/32 ViT-B/16 ViT-L/14

ViT-L/14 needs 7 GB of memory and 2 GB of disk, ViT-bigG/14 six times as much.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from transformers_clip import image_embeddings, save_checkpoint, text_embeddings

# (vision width, layers, heads, dense width, patch, image), (text width, layers, heads), embedding
SIZES = {
    "ViT-B/32": ((768, 12, 12, 3072, 32, 224), (512, 12, 8), 512, "quick_gelu"),
    "ViT-B/16": ((768, 12, 12, 3072, 16, 224), (512, 12, 8), 512, "quick_gelu"),
    "ViT-L/14": ((1024, 24, 16, 4096, 14, 224), (768, 12, 12), 768, "quick_gelu"),
    "ViT-L/14-336": ((1024, 24, 16, 4096, 14, 336), (768, 12, 12), 768, "quick_gelu"),
    "ViT-H/14": ((1280, 32, 16, 5120, 14, 224), (1024, 24, 16), 1024, "gelu"),
    "ViT-g/14": ((1408, 40, 16, 6144, 14, 224), (1024, 24, 16), 1024, "gelu"),
    "ViT-bigG/14": ((1664, 48, 16, 8192, 14, 224), (1280, 32, 20), 1280, "gelu"),
}
TEXTS = ["a photo of a cat.", "", "naïve 🐈 café, and a much longer text than the other ones " * 9]


def make_model(size: str) -> Any:
    from transformers import CLIPConfig, CLIPModel

    (width, layers, heads, dense, patch, image), text, projection_dim, activation = SIZES[size]
    config = CLIPConfig(
        projection_dim=projection_dim,
        vision_config={
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": dense,
            "patch_size": patch,
            "image_size": image,
            "hidden_act": activation,
        },
        text_config={
            "hidden_size": text[0],
            "num_hidden_layers": text[1],
            "num_attention_heads": text[2],
            "intermediate_size": 4 * text[0],
            "hidden_act": activation,
        },
    )
    torch.manual_seed(0)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # transformers leaves biases at zero and norms at one.
            if parameter.ndim == 1:
                parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def main(sizes: list[str]) -> None:
    from keras_cmm import clip
    from keras_cmm.clip.inputs.bpe_tokenizer import openai_tokenizer

    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (200 + 97 * n, 400 - 61 * n, 3), dtype="uint8"))
        for n in range(4)
    ]
    for size in sizes:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model = make_model(size)
            tokenizer = openai_tokenizer()
            save_checkpoint(
                folder, model, (tokenizer.vocabulary, tokenizer.merges), max_shard_size="500MB"
            )
            expected = (
                image_embeddings(model, folder, images),
                text_embeddings(model, folder, TEXTS),
            )
            parameters = sum(parameter.numel() for parameter in model.parameters())
            del model
            ours = clip.load(folder)
        image_difference = np.abs(clip.ImageEmbedder(ours).embed(images).embeddings - expected[0])
        text_difference = np.abs(clip.TextEmbedder(ours).embed(TEXTS) - expected[1])
        print(
            f"{size}: {parameters / 1e6:.0f} million parameters, largest difference "
            f"{image_difference.max():.1e} of images, {text_difference.max():.1e} of texts "
            f"({time.perf_counter() - started:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    unknown = sorted(set(sys.argv[1:]).difference(SIZES))
    if unknown:
        sys.exit(f"{unknown[0]!r} is none of {', '.join(SIZES)}.")
    main(sys.argv[1:] or ["ViT-B/32", "ViT-B/16", "ViT-L/14"])
