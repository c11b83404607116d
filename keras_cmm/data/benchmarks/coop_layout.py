"""Benchmarks in the folders of CoOp's DATASETS.md."""

import os
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from keras_cmm.data.benchmarks.benchmark_facts import BenchmarkFacts
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.sources import ImageList
from keras_cmm_runtime.sources.folders import is_clutter, is_image_name, refuse_missing
from keras_cmm_runtime.utils import listed, read_lines

DATASETS_MD = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"


def load_coop(benchmark: BenchmarkFacts, split: str, data_dir: Path) -> ImageList:
    """Lists the images of one split.

    Args:
        benchmark: The benchmark.
        split: One of its splits.
        data_dir: The folder that holds `benchmark.coop_folder`.

    Returns:
        The images under CLIP's class names, numbered as CoOp does.

    Raises:
        InputError: If files are missing or cannot be read.
    """
    folder = data_dir / benchmark.coop_folder
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; give the folder that holds {benchmark.coop_folder!r} as "
            f"the data folder, or get {benchmark.title} as {DATASETS_MD} says."
        )
    images = folder / benchmark.coop_images
    if benchmark.coop_layout == "split_file":
        split_file = folder / benchmark.coop_split_file
        if not split_file.is_file():
            raise InputError(f"{split_file}: {missing_list(benchmark.coop_split_file)}")
        return ImageList.from_coop(split_file, images, cast(Literal["train", "val", "test"], split))
    if benchmark.coop_layout == "aircraft":
        return _load_aircraft(folder, images, split)
    if benchmark.name == "imagenet":
        images = images / ("train" if split == "train" else "val")
    return _load_folders(benchmark, images, data_dir)


def missing_list(name: str) -> str:
    """Returns the end of the error for a list of images that is missing."""
    if name.startswith("split_zhou"):
        return f"no such file; download it from the link in {DATASETS_MD} and put it there."
    return "no such file; it comes in the archive of the images, which must be unpacked whole."


def read_aircraft(folder: Path, split: str) -> tuple[tuple[str, ...], list[tuple[str, int]]]:
    """Reads one of FGVC-Aircraft's lists.

    Args:
        folder: The folder with `variants.txt`.
        split: "train", "val" or "test".

    Returns:
        The class names, and the file names of images with their class ids.

    Raises:
        InputError: If a list is missing or has another form.
    """
    variants = tuple(name for name in _lines(folder / "variants.txt") if name)
    ids = {name: label for label, name in enumerate(variants)}
    path = folder / f"images_variant_{split}.txt"
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        image, _, name = line.partition(" ")
        if name not in ids:
            raise InputError(
                f"{path}, line {number}: {line!r} is not an image and a class of variants.txt; "
                "unpack both again from the same archive."
            )
        rows.append((f"{image}.jpg", ids[name]))
    return variants, rows


def read_imagenet_names(benchmark: BenchmarkFacts, data_dir: Path) -> dict[str, str]:
    """Reads CLIP's names of ImageNet's classes.

    Args:
        benchmark: ImageNet or a shift of it. Its own folder is searched first, then ImageNet's.
        data_dir: The folder that holds both.

    Returns:
        The names by WordNet id, in the order of the ids.

    Raises:
        InputError: If the file is missing or has another form.
    """
    places = [data_dir / benchmark.coop_folder, data_dir / "imagenet"]
    paths = [place / "classnames.txt" for place in places]
    path = next((path for path in paths if path.is_file()), paths[-1])
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; download CLIP's class names of ImageNet, classnames.txt, from "
            f"the link in {DATASETS_MD} and put them there."
        )
    names = {}
    for number, line in enumerate(_lines(path), start=1):
        wnid, _, name = line.partition(" ")
        if not is_wnid(wnid) or not name or wnid in names:
            raise InputError(
                f"{path}, line {number}: {line!r} is not a new WordNet id and its class name, such "
                "as 'n01440764 tench'; download the file again."
            )
        names[wnid] = name
    return dict(sorted(names.items()))


def read_wnids(benchmark: BenchmarkFacts, data_dir: Path) -> npt.NDArray[np.int64]:
    """Returns the classes of ImageNet that a shift has, see `Benchmark.imagenet_classes`."""
    names = list(read_imagenet_names(benchmark, data_dir))
    folder = data_dir / benchmark.coop_folder / benchmark.coop_images
    return np.array([names.index(wnid) for wnid in _class_folders(folder, set(names))])


def is_wnid(name: str) -> bool:
    """Returns whether a name is a WordNet id, such as "n01440764"."""
    return len(name) == 9 and name[0] == "n" and name[1:].isdecimal()


def image_names(folder: Path) -> list[str]:
    """Returns the names of the images that lie directly in a folder, sorted."""
    # scandir: ImageNet has a million images, and a system call for each takes minutes.
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not is_clutter(entry.name) and is_image_name(Path(entry.name))
        )


def folder_names(folder: Path) -> list[str]:
    """Returns the names of the sub-folders that are no clutter, sorted."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if entry.is_dir() and not is_clutter(entry.name)
        )


def _load_aircraft(folder: Path, images: Path, split: str) -> ImageList:
    names, rows = read_aircraft(folder, split)
    paths = tuple(images / name for name, _ in rows)
    refuse_missing(paths, f"images_variant_{split}.txt", "unpack the archive again")
    return ImageList(paths, np.array([label for _, label in rows], np.int32), names, images)


def _load_folders(benchmark: BenchmarkFacts, images: Path, data_dir: Path) -> ImageList:
    wnids = read_imagenet_names(benchmark, data_dir)
    names = list(wnids.values())
    if benchmark.coop_layout == "numbers":
        found = _class_folders(images, {str(number) for number in range(len(names))})
        found.sort(key=int)
        known = {str(number): name for number, name in enumerate(names)}
    else:
        found = _class_folders(images, set(wnids))
        known = wnids
    # With 1,000 classes a missing one keeps its number; 200 classes are those that are there.
    classes = list(known) if benchmark.num_classes == 1000 else found
    ids = {name: label for label, name in enumerate(classes)}
    paths, labels = [], []
    for name in found:
        files = image_names(images / name)
        paths += [images / name / file for file in files]
        labels += [ids[name]] * len(files)
    class_names = tuple(known[name] for name in classes)
    return ImageList(tuple(paths), np.array(labels, dtype=np.int32), class_names, images)


def _class_folders(folder: Path, known: set[str]) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; put the folders of the classes there.")
    found = folder_names(folder)
    strange = [name for name in found if name not in known]
    if strange or not found:
        what = f"holds the folders {listed(strange)}, which are" if strange else "holds"
        raise InputError(
            f"{folder}: {what} no classes of ImageNet; expected one folder a class, named "
            f"such as {min(known)!r}."
        )
    return found


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"{path}: {missing_list(path.name)}")
    return read_lines(path, "get the file again")
