"""Benchmarks with all their classes and few images, laid out as CoOp's DATASETS.md says."""

import io
import json
import re

import numpy as np
from PIL import Image


def tiny_jpeg(seed=0):
    """The bytes of an 8 x 8 JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def write_miniature(benchmark, data_dir, images=1):
    """Writes a benchmark with `images` of each class in each of its splits.

    Returns the folder of the benchmark.
    """
    folder = data_dir / benchmark.coop_folder
    place = folder / benchmark.coop_images
    files = []
    if benchmark.is_imagenet:
        write_classnames(data_dir)
        for split in benchmark.splits:
            base = place
            if benchmark.name == "imagenet":
                base = place / ("train" if split == "train" else "val")
            for name in folder_names(benchmark):
                files += [base / name / f"{split}_{number}.JPEG" for number in range(images)]
    else:
        rows = {split: rows_of(benchmark, split, images) for split in benchmark.splits}
        files += [place / path for split in rows.values() for path, _, _ in split]
        folder.mkdir(parents=True)
        if benchmark.coop_layout == "aircraft":
            text = "".join(f"{name}\n" for name in benchmark.class_names)
            (folder / "variants.txt").write_text(text)
            for split, listed in rows.items():
                text = "".join(f"{path.removesuffix('.jpg')} {name}\n" for path, _, name in listed)
                (folder / f"images_variant_{split}.txt").write_text(text)
        else:
            (folder / benchmark.coop_split_file).write_text(json.dumps(rows))
    data = tiny_jpeg()
    for parent in {file.parent for file in files}:
        parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        file.write_bytes(data)
    return folder


def write_classnames(data_dir):
    """Writes a `classnames.txt` of made-up names, two of which are the same as in OpenAI's."""
    names = [f"thing {number}" for number in range(1000)]
    names[657] = names[744] = "missile"
    lines = [f"{wnid} {name}\n" for wnid, name in zip(made_up_wnids(), names, strict=True)]
    (data_dir / "imagenet").mkdir(parents=True, exist_ok=True)
    (data_dir / "imagenet" / "classnames.txt").write_text("".join(lines))


def made_up_wnids():
    return [f"n{1440764 + 7 * number:08d}" for number in range(1000)]


def folder_names(benchmark):
    if benchmark.coop_layout == "numbers":
        return [str(number) for number in range(1000)]
    return made_up_wnids()[:: 1000 // benchmark.num_classes]


def rows_of(benchmark, split, images):
    """Rows of a split file, with paths as the real one has."""
    names = benchmark.class_names or [f"class {label}" for label in range(benchmark.num_classes)]
    number = {"train": 1, "val": 1001, "test": 2001}[split]
    return [
        [path_of(benchmark.name, label, name, split, number + each), label, name]
        for label, name in enumerate(names)
        for each in range(images)
    ]


def path_of(benchmark, label, name, split, number):
    word = re.sub("[^A-Za-z]", "", name.title()) + f"{label}"
    flat = 10_000 * label + number
    return {
        "oxford_pets": f"{word}_{number}.jpg",
        "oxford_flowers": f"image_{flat:07d}.jpg",
        "stanford_cars": f"cars_{'test' if split == 'test' else 'train'}/{flat:07d}.jpg",
        "sun397": f"{word[0].lower()}/{word}/sun_{number}.jpg",
        "fgvc_aircraft": f"{flat:07d}.jpg",
        "ucf101": f"{name}/v_{word}_g01_c{number}.jpg",
    }.get(benchmark, f"{word}/{word}_{number}.jpg")
