"""Measures images a second on a GPU against a bare torch loop, and how long the GPU waits.

Ours is `ImageEmbedder.embed` on JPEG files, and `embed_pixels` on pixels that lie in memory. The
bare loop is transformers' image tower with sdpa, in the same dtype and in the same batches, on
images that lie on the GPU already: no program can be faster by more than its tower is. The share of
time that the GPU waits is what the kernels, by torch's profiler, leave of the whole time. All
weights are random and all images are made here, so nothing is downloaded. Without a GPU it says so
and measures nothing. Run it with

    KERAS_BACKEND=torch python tests/benchmarks/gpu.py [--dtype bfloat16] [--batch-size 256]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from embedding import make_backbone, make_images, make_preprocessor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from keras_cmm.clip import CLIPModel, ImageEmbedder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--patch-size", type=int, choices=(16, 32), default=32)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU, so nothing was measured.")
    with tempfile.TemporaryDirectory() as folder:
        measure(make_images(Path(folder), arguments.images), arguments)


def measure(paths: list[Path], arguments: argparse.Namespace) -> None:
    preprocessor = make_preprocessor()
    backbone = make_backbone(arguments.patch_size)
    model = CLIPModel(backbone, preprocessor.tokenizer, preprocessor.image_converter)
    size = arguments.batch_size
    embedder = ImageEmbedder(model, batch_size=size, dtype=arguments.dtype)
    if embedder.encoder.on_cpu:
        sys.exit("Keras put the model on the CPU, so nothing was measured.")
    few = np.stack([embedder.preprocessor.pixels(path) for path in paths[:size]])
    config = CLIPVisionConfig(patch_size=arguments.patch_size, attn_implementation="sdpa")
    reference = CLIPVisionModelWithProjection(config).eval()
    reference.to("cuda", getattr(torch, arguments.dtype))
    images = torch.from_numpy(embedder.preprocessor.normalize(few)).permute(0, 3, 1, 2)
    images = images.to("cuda", getattr(torch, arguments.dtype)).contiguous()
    batches = max(1, len(paths) // size)
    paths = paths[: batches * size]

    def bare_loop() -> None:
        with torch.inference_mode():
            for _ in range(batches):
                reference(images)

    def pixels_in_memory() -> None:
        for _ in range(batches):
            embedder.embed_pixels(few)

    sides: dict[str, Callable[[], object]] = {
        "bare torch loop": bare_loop,
        "ours, pixels in memory": pixels_in_memory,
        "ours, from JPEG files": lambda: embedder.embed(paths),
    }
    print(
        f"{torch.cuda.get_device_name()}, ViT-B/{arguments.patch_size}, {arguments.dtype}, "
        f"{len(paths)} images in batches of {size}"
    )
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(arguments.turns + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            torch.cuda.synchronize()
            if turn:  # The first run chooses kernels.
                seconds[name].append(time.perf_counter() - start)
    bare = seconds["bare torch loop"]
    for name, run in sides.items():
        ratio = statistics.median(a / b for a, b in zip(bare, seconds[name], strict=True))
        speed = len(paths) / statistics.median(seconds[name])
        print(
            f"{name:24} {speed:9.1f} images/s, {ratio:5.2f} x the bare loop, the GPU waits "
            f"{100 * waiting_share(run):3.0f}% of the time"
        )


def waiting_share(run: Callable[[], object]) -> float:
    """Returns the share of a run in which no kernel and no copy runs."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        whole = time.perf_counter() - start
    busy = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
    return max(0.0, 1.0 - busy / whole)


if __name__ == "__main__":
    main()
