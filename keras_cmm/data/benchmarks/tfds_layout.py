"""Benchmarks that tensorflow-datasets has prepared."""

import contextlib
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keras_cmm.data.benchmarks.benchmark_facts import BenchmarkFacts
from keras_cmm.data.benchmarks.coop_layout import DATASETS_MD, read_imagenet_names
from keras_cmm.data.tfds_source import TFDSSource, import_tfds, named_builder
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import listed


def load_tfds(benchmark: BenchmarkFacts, split: str, data_dir: Path) -> tuple[TFDSSource, int]:
    """Lists the images of one split.

    Args:
        benchmark: The benchmark.
        split: One of its splits.
        data_dir: The folder of TFDS's data sets.

    Returns:
        The images under CLIP's class names, and the number of images of the whole split of TFDS.

    Raises:
        InputError: If the data set is not prepared, or ImageNet's class names are missing.
    """
    tfds_split, start, stop = benchmark.tfds_splits[split]
    source = _open(benchmark, tfds_split, data_dir)
    names = _clip_names(benchmark, source, data_dir)
    kept = [label for label, name in enumerate(names) if name]
    rows = rows_of_part(source.labels, source.keys(), start, stop)
    rows = rows[np.isin(source.labels[rows], kept)]
    labels = np.searchsorted(kept, source.labels[rows]).astype(np.int32)
    class_names = tuple(names[label] for label in kept)
    taken = source if len(rows) == len(source) else source.take(rows)
    return taken.relabel(labels, class_names), len(source)


def rows_of_part(
    labels: npt.NDArray[np.integer], keys: list[str], start: float, stop: float
) -> npt.NDArray[np.int64]:
    """Takes a part of each class, whatever the order of the images.

    The images of a class are ranked by the SHA-256 of their keys, so parts whose fractions do not
    overlap share no image.

    Args:
        labels: `(images,)` class ids.
        keys: One identity an image.
        start: Where the part starts, 0 for the first image of a class.
        stop: Where it ends, 1 for after the last.

    Returns:
        Row numbers, ascending.
    """
    ranked = sorted(range(len(keys)), key=lambda row: hashlib.sha256(keys[row].encode()).digest())
    by_class: dict[int, list[int]] = {}
    for row in ranked:
        by_class.setdefault(int(labels[row]), []).append(row)
    rows = [
        row
        for members in by_class.values()
        for row in members[round(start * len(members)) : round(stop * len(members))]
    ]
    return np.array(sorted(rows), dtype=np.int64)


def present_classes(benchmark: BenchmarkFacts, data_dir: Path) -> npt.NDArray[np.int64]:
    """Returns the class ids of ImageNet that the images of a shift have, ascending."""
    source = _open(benchmark, benchmark.tfds_splits["test"][0], data_dir)
    return np.unique(source.labels).astype(np.int64)


def prepared_sizes(benchmark: BenchmarkFacts, data_dir: Path) -> dict[str, int]:
    """Returns the number of images of each split that TFDS has prepared.

    Args:
        benchmark: The benchmark.
        data_dir: The folder of TFDS's data sets.

    Returns:
        `{split of TFDS: number of images}`.

    Raises:
        InputError: If tensorflow-datasets is not installed or the data set is not prepared.
    """
    _import_our_builders()
    builder = named_builder(import_tfds(), benchmark.tfds_name, data_dir)
    splits = builder.info.splits
    if not splits:
        raise InputError(
            f"{data_dir}: {benchmark.tfds_name} is not prepared there; run "
            f"`tfds.builder({benchmark.tfds_name!r}, data_dir=...).download_and_prepare()`."
        )
    return {name: split.num_examples for name, split in splits.items()}


def _open(benchmark: BenchmarkFacts, split: str, data_dir: Path) -> TFDSSource:
    _import_our_builders()
    return TFDSSource(benchmark.tfds_name, split, data_dir=data_dir)


def _import_our_builders() -> None:
    """Registers our builders with TFDS. Without TFDS, `TFDSSource` raises the error."""
    with contextlib.suppress(ImportError):
        from keras_cmm.data.benchmarks import tfds_builders  # noqa: F401


def _clip_names(benchmark: BenchmarkFacts, source: TFDSSource, data_dir: Path) -> list[str]:
    """Returns CLIP's name of each class of TFDS, "" for those that are dropped."""
    if not benchmark.is_imagenet:
        return [benchmark.tfds_class_name(name) for name in source.class_names]
    known = read_imagenet_names(benchmark, data_dir)
    missing = [wnid for wnid in source.class_names if wnid not in known]
    if missing:
        raise InputError(
            f"{data_dir}: classnames.txt has no name for {listed(missing)}; download the file "
            f"again from the link in {DATASETS_MD}."
        )
    names = [known[wnid] for wnid in source.class_names]
    if benchmark.num_classes == len(names):
        return names
    present = set(source.labels.tolist())
    return [name if label in present else "" for label, name in enumerate(names)]
