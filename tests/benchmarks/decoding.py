"""Measures decoders of JPEG files: the CPU milliseconds an image, and whether its pixels are exact.

Compared with Pillow, as `read_image` uses it, are simplejpeg, its fast DCT, and Pillow's draft
mode, which decodes an image at a half, a quarter or an eighth of its size. They run in turns.
simplejpeg is no requirement of this package: `pip install simplejpeg`. Run it with

    python tests/benchmarks/decoding.py [--turns 6]
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from keras_cmm_runtime.images import ImagePreprocessor

SIZES = ((500, 375, 40), (1600, 1200, 8), (4000, 3000, 2))
IMAGE_SIZE = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=6)
    arguments = parser.parse_args()
    for width, height, count in SIZES:
        measure(make_files(width, height, count), f"{width} x {height}", arguments.turns)


def measure(files: list[bytes], name: str, turns: int) -> None:
    preprocessor = ImagePreprocessor(image_size=IMAGE_SIZE)
    decoding: dict[str, list[float]] = {decoder: [] for decoder in DECODERS}
    whole: dict[str, list[float]] = {decoder: [] for decoder in DECODERS}
    for _ in range(turns):
        for decoder, decode in DECODERS.items():
            start = time.process_time()
            pictures = [decode(content) for content in files]
            decoded = time.process_time()
            for picture in pictures:
                preprocessor.pixels(picture)
            decoding[decoder].append(decoded - start)
            whole[decoder].append(time.process_time() - start)
    exact = [preprocessor.pixels(pillow(content)).astype("int32") for content in files]
    for decoder, decode in DECODERS.items():
        pixels = [preprocessor.pixels(decode(content)) for content in files]
        differences = [np.abs(a - b) for a, b in zip(exact, pixels, strict=True)]
        ms = 1000 / len(files)
        print(
            f"{name:12} {decoder:24} {ms * statistics.median(decoding[decoder]):6.1f} ms, resized "
            f"too {ms * statistics.median(whole[decoder]):6.1f} ms, pixels differ by "
            f"{np.mean(differences):.2f} on average and {np.max(differences)} at most"
        )


def pillow(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def draft(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.draft("RGB", (IMAGE_SIZE, IMAGE_SIZE))
    picture.load()
    return picture


def exact_simplejpeg(content: bytes) -> Image.Image:
    import simplejpeg

    return Image.fromarray(simplejpeg.decode_jpeg(content, "RGB"))


def fast_simplejpeg(content: bytes) -> Image.Image:
    import simplejpeg

    pixels = simplejpeg.decode_jpeg(content, "RGB", fastdct=True, fastupsample=True)
    return Image.fromarray(pixels)


DECODERS: dict[str, Callable[[bytes], Image.Image]] = {
    "Pillow": pillow,
    "simplejpeg": exact_simplejpeg,
    "simplejpeg, fast DCT": fast_simplejpeg,
    "Pillow, draft mode": draft,
}


def make_files(width: int, height: int, count: int) -> list[bytes]:
    """Makes blurred noise with some grain, which compresses to the size of a photo."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), "uint8"))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), "float32")
        grain = rng.standard_normal(smooth.shape, "float32") * 12
        output = io.BytesIO()
        picture = Image.fromarray((smooth + grain).clip(0, 255).astype("uint8"))
        picture.save(output, "JPEG", quality=90)
        files.append(output.getvalue())
    return files


if __name__ == "__main__":
    main()
