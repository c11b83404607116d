"""How long `paper_table.py` takes, from parts that are measured on this machine.

`python examples/paper_table.py --estimate` prints it. It needs neither data nor weights.

Measured: images a second of both towers from JPEG files of 500 x 375 pixels, with random weights;
how fast one core reads and resizes such files; and the seconds of each method on made-up embeddings
of some numbers of classes and shots. The seconds of a method are then taken for a sum of shares in
proportion to 1, classes, support images and their product, none of them negative. ProKeR, which
solves a system of as many equations as support images, has one in proportion to their cube too.
That is fitted to what was measured, and extended to the data sets.

Assumed: how many images a second a GPU does (`--gpu-images`), that images a second grow with the
cores, and that methods take as long on 16 cores or a GPU as they do here, which is too long.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import keras_hub
import numpy as np
from PIL import Image
from scipy.optimize import nnls

from keras_cmm.clip import CLIPModel, ImageEmbedder
from keras_cmm.clip.backbones.resnet_vision_encoder import ResNetVisionEncoder
from keras_cmm.data import Benchmark, EmbeddingSet
from keras_cmm.evaluation import run_benchmark

DIMS = {"ViT-B/16": 512, "RN50": 1024}
# Classes and shots that the methods are timed with.
MEASURED = ((10, 1), (10, 16), (50, 1), (50, 4), (100, 1), (100, 16))
TEST_ROWS = 500
IMAGES = 64
# Methods that solve a system of equations of the support images. Others get no share in proportion
# to their cube: noise in it would grow a thousand times on the way to ImageNet.
CUBIC = ("proker",)
# Validation images of a class, at most.
VALIDATION = 4


class Work(NamedTuple):
    """What there is to do."""

    benchmarks: Sequence[Benchmark]
    methods: Sequence[str]
    shots: Sequence[int]
    seeds: int


class Seconds(NamedTuple):
    """The share of each feature in the seconds of a method, and of scoring one test image."""

    fit: np.ndarray
    score: np.ndarray


def images_of(benchmark: Benchmark, shots: Sequence[int], seeds: int) -> int:
    """Returns how many images are embedded: all for testing, and those that are drawn."""
    sizes, classes = benchmark.coop_sizes, benchmark.num_classes
    validation = seeds * min(max(shots), VALIDATION) * classes
    drawn = seeds * max(shots) * classes
    if "val" not in sizes:
        return sizes["test"] + min(sizes["train"], drawn + validation)
    return sizes["test"] + min(sizes["train"], drawn) + min(sizes["val"], validation)


def features(classes: int, shots: int) -> np.ndarray:
    """Returns what the seconds of a method are made of."""
    rows = classes * shots
    return np.array([1.0, classes, rows, rows * classes, float(rows) ** 3])


def shares(
    points: Sequence[tuple[int, int]], seconds: Sequence[float], cubic: bool = False
) -> np.ndarray:
    """Returns the shares, none negative, whose relative errors are least."""
    matrix = np.array([features(*point) for point in points])
    matrix[:, -1] *= cubic
    weights = 1 / np.maximum(np.asarray(seconds), 1e-6)
    # Columns of like size: the cube is a million times the others.
    scale = np.maximum(np.abs(matrix).max(axis=0), 1.0)
    found, _ = nnls(matrix / scale * weights[:, None], np.asarray(seconds) * weights)
    return found / scale


def made_up(classes: int, shots: int, dim: int) -> EmbeddingSet:
    """Returns embeddings of classes that overlap, with validation images."""
    rng = np.random.default_rng(classes)
    texts = rng.normal(size=(classes, dim))

    def rows(labels: np.ndarray) -> np.ndarray:
        return texts[labels] + 3 * rng.normal(size=(len(labels), dim))

    parts = {
        "train": np.repeat(np.arange(classes), shots),
        "val": np.repeat(np.arange(classes), min(shots, VALIDATION)),
        "test": rng.integers(0, classes, size=TEST_ROWS),
    }
    return EmbeddingSet(
        **{f"{part}_embeddings": rows(labels) for part, labels in parts.items()},
        **{f"{part}_labels": labels for part, labels in parts.items()},
        text_embeddings=texts,
        class_names=[f"class {number}" for number in range(classes)],
        dataset="made-up",
        backbone=f"{dim} dimensions",
    )


def time_methods(
    methods: Sequence[str], dim: int, points: Sequence[tuple[int, int]] = MEASURED
) -> dict[str, Seconds]:
    """Times each method at some classes and shots."""
    # What is only done once, such as to load a library, is not to count.
    run_benchmark([made_up(5, 1, dim)], methods, [1], [1])
    found = [
        run_benchmark([made_up(classes, shots, dim)], methods, [shots], [1])
        for classes, shots in points
    ]
    timed = {}
    for number, method in enumerate(record["method"] for record in found[0]):
        fit = [records[number]["fit_seconds"] for records in found]
        score = [records[number]["predict_seconds"] / TEST_ROWS for records in found]
        timed[method] = Seconds(shares(points, fit, method in CUBIC), shares(points, score))
    return timed


def seconds_of_methods(timed: dict[str, Seconds], benchmark: Benchmark, work: Work) -> float:
    """Returns the seconds of all runs of a data set with one backbone."""
    total = 0.0
    for method, seconds in timed.items():
        for shots in (1,) if method == "zero_shot" else work.shots:
            runs = 1 if method == "zero_shot" else work.seeds
            point = features(benchmark.num_classes, shots)
            test = benchmark.coop_sizes["test"]
            total += runs * float(seconds.fit @ point + test * (seconds.score @ point))
    return total


def tower(name: str) -> CLIPModel:
    """Returns an image tower of random weights, with a text tower that is not used."""
    text = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=8,
        embedding_dim=8,
        hidden_dim=8,
        num_layers=1,
        num_heads=1,
        intermediate_dim=8,
    )
    if name == "RN50":
        vision = ResNetVisionEncoder([3, 4, 6, 3], width=64, image_shape=(224, 224, 3))
    else:
        vision = keras_hub.models.CLIPVisionEncoder(
            patch_size=16, hidden_dim=768, num_layers=12, num_heads=12, intermediate_dim=3072
        )
        positions = vision.embedding
        positions.position_ids.assign(np.arange(positions.num_positions)[None])
    converter = keras_hub.layers.CLIPImageConverter(
        image_size=(224, 224), interpolation="bicubic", crop_to_aspect_ratio=True, scale=1 / 255
    )
    backbone = keras_hub.models.CLIPBackbone(vision, text, projection_dim=DIMS[name])
    return CLIPModel(backbone, None, converter)


def pictures(folder: Path, number: int) -> list[Path]:
    """Makes JPEG files of blurred noise with some grain, which are as large as photos."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{each}.jpg" for each in range(number)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), "uint8"))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), "float32")
        pixels = smooth + 12 * rng.standard_normal(smooth.shape, "float32")
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(path, quality=90)
    return paths


def time_towers(names: Sequence[str], batch_size: int, images: int) -> Iterator[tuple[str, float]]:
    """Yields each tower's images a second, and then the files that a core reads in a second."""
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures(Path(folder), images)
        for name in names:
            keras.utils.set_random_seed(0)
            embedder = ImageEmbedder(tower(name), batch_size, engine="keras")
            embedder.embed(paths[:2])
            start = time.perf_counter()
            embedder.embed(paths)
            yield name, images / (time.perf_counter() - start)
        start = time.perf_counter()
        for path in paths:
            embedder.preprocessor.pixels(path)
        yield "read", images / (time.perf_counter() - start)


def print_estimate(
    work: Work, cores: int, gpu_images: Sequence[float], batch_size: int, images: int = IMAGES
) -> None:
    """Measures the parts, and prints them and what they make."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rates = dict(time_towers(list(DIMS), batch_size, images))
    read = rates.pop("read")
    timed = {name: time_methods(work.methods, dim) for name, dim in DIMS.items()}
    by_cores = {name: rate * cores / here for name, rate in rates.items()}
    by_gpu = {name: min(rate, read * cores) for name, rate in zip(DIMS, gpu_images, strict=True)}
    measured = ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items())
    print(f"measured here, {here} cores: {measured} images/s; files read on one core: {read:.0f}/s")
    shown = ", ".join(f"{name} {rate:.0f}" for name, rate in zip(DIMS, gpu_images, strict=True))
    print(f"assumed: {shown} images/s on the GPU, where {cores} cores read the files")
    print(f"assumed: {cores} cores embed {cores / here:g} times as many images as these {here}")
    print("assumed: methods take as long as here, one after another\n")
    columns = [
        *(f"{name}, {where}" for where in (f"{cores} cores", "GPU") for name in DIMS),
        *(f"methods, {name}" for name in DIMS),
    ]
    print("| hours | images | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * (len(columns) + 1))
    rows = []
    for each in work.benchmarks:
        number = images_of(each, work.shots, work.seeds)
        seconds = [number / rate for rates in (by_cores, by_gpu) for rate in rates.values()]
        seconds += [seconds_of_methods(timed[name], each, work) for name in DIMS]
        rows.append([float(number), *(value / 3600 for value in seconds)])
        print_row(each.name, rows[-1])
    total = np.sum(rows, axis=0)
    print_row("all", total)
    methods = float(total[-2:].sum())
    print(f"\non {cores} cores: {total[1:3].sum() + methods:.1f} hours")
    print(f"on one GPU with {cores} cores: {total[3:5].sum() + methods:.1f} hours")


def print_row(title: str, row: Sequence[float]) -> None:
    """Prints one line of the table: images, then hours."""
    print(f"| {title} | {row[0]:,.0f} | " + " | ".join(f"{hours:.2f}" for hours in row[1:]) + " |")
