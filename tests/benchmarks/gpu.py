"""Measures images a second on a CUDA GPU against a bare torch loop, and how long the GPU waits.

Ours is `ImageEmbedder.embed` on JPEG files, `embed` on pixels that lie in memory, and
`embed_pixels`, which waits for each batch. The bare loop is transformers' image tower with sdpa, in
the same dtype and in the same batches, on images that lie on the GPU already: no program can be
faster by more than its tower is. The share of time that the GPU waits is what kernels, by torch's
profiler, leave of the whole time. It also prints the batch size that free memory allows, how far
the embeddings of each dtype are from those of float32, and how fast pixels are copied from pinned
and from pageable memory.

All weights are random and all images are made here, so nothing is downloaded. Without a GPU it says
so and measures nothing. Run it with

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

DTYPES = ("float32", "bfloat16", "float16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=DTYPES, action="append", help="may be repeated")
    parser.add_argument("--batch-size", type=int, help="in place of the one that is chosen")
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--patch-size", type=int, choices=(16, 32), default=32)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch sees no CUDA GPU, so nothing was measured.")
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, ViT-B/{arguments.patch_size}"
    )
    measure_copies("cuda", 256 * 224 * 224 * 3, arguments.turns)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_images(Path(folder), arguments.images)
        preprocessor = make_preprocessor()
        backbone = make_backbone(arguments.patch_size)
        model = CLIPModel(backbone, preprocessor.tokenizer, preprocessor.image_converter)
        if ImageEmbedder(model).encoder.on_cpu:
            sys.exit("Keras put the model on the CPU, so nothing was measured.")
        exact = ImageEmbedder(model).embed(paths[:64]).embeddings
        for dtype in arguments.dtype or DTYPES:
            embedder = ImageEmbedder(model, arguments.batch_size, dtype=dtype)
            measure(embedder, paths, dtype, arguments)
            cosines = (embedder.embed(paths[:64]).embeddings * exact).sum(axis=1)
            print(f"  {'least cosine with float32':28} {cosines.min():.6f}")


def measure(
    embedder: ImageEmbedder,
    paths: list[Path],
    dtype: str,
    arguments: argparse.Namespace,
    device: str = "cuda",
) -> None:
    size = embedder.batch_size
    batches = max(1, len(paths) // size)
    paths = paths[: batches * size]
    few = np.stack([embedder.preprocessor.pixels(path) for path in paths[:size]])
    config = CLIPVisionConfig(patch_size=arguments.patch_size, attn_implementation="sdpa")
    reference = CLIPVisionModelWithProjection(config).eval().to(device, getattr(torch, dtype))
    images = torch.from_numpy(embedder.preprocessor.normalize(few)).permute(0, 3, 1, 2)
    images = images.to(device, getattr(torch, dtype)).contiguous()

    def bare_loop() -> None:
        with torch.inference_mode():
            for _ in range(batches):
                reference(images)

    def batch_by_batch() -> None:
        for _ in range(batches):
            embedder.embed_pixels(few)

    sides: dict[str, Callable[[], object]] = {
        "bare torch loop": bare_loop,
        "ours, a batch after another": batch_by_batch,
        "ours, pixels in memory": lambda: embedder.embed(list(few) * batches),
        "ours, from JPEG files": lambda: embedder.embed(paths),
    }
    chosen = "given" if arguments.batch_size else "chosen"
    print(f"{dtype}, {len(paths)} images, {chosen} batch size {size}")
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(arguments.turns + 1):
        for name, run in sides.items():
            taken = seconds_of(run)
            if turn:  # The first run chooses kernels.
                seconds[name].append(taken)
    bare = seconds["bare torch loop"]
    for name, run in sides.items():
        ratio = statistics.median(a / b for a, b in zip(bare, seconds[name], strict=True))
        speed = len(paths) / statistics.median(seconds[name])
        print(
            f"  {name:28} {speed:9.1f} images/s, {ratio:5.2f} x the bare loop, the GPU waits "
            f"{100 * waiting_share(run):3.0f}% of the time"
        )


def measure_copies(device: str, size: int, turns: int) -> None:
    """Prints how fast a batch of 256 images is copied to the GPU."""
    pageable = torch.zeros(size, dtype=torch.uint8)
    for name, source in (("pinned", pageable.pin_memory()), ("pageable", pageable)):
        taken = [
            seconds_of(lambda source=source: source.to(device, non_blocking=True))
            for _ in range(turns + 1)
        ][1:]
        print(f"a copy from {name} memory: {size / statistics.median(taken) / 1e9:.1f} GB/s")


def seconds_of(run: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def waiting_share(run: Callable[[], object]) -> float:
    """Returns the share of a run in which no kernel runs. Copies lie beside kernels."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        whole = seconds_of(run)
    busy = sum(
        event.self_device_time_total
        for event in profile.key_averages()
        # Those of the CPU that launched a kernel may hold its time once more.
        if event.device_type == torch.autograd.DeviceType.CUDA
        and not event.key.startswith(("Memcpy", "Memset"))
    )
    return max(0.0, 1.0 - busy / 1e6 / whole)


if __name__ == "__main__":
    main()
