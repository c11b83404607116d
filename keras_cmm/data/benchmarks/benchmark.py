"""One of the data sets that few-shot methods are compared on."""

import functools
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from keras_cmm.data.benchmarks.check import check_coop, check_tfds
from keras_cmm.data.benchmarks.coop_layout import load_coop, read_wnids
from keras_cmm.data.benchmarks.tfds_layout import load_tfds
from keras_cmm.data.sources.image_source import ImageSource
from keras_cmm.errors import InputError

Protocol = Literal["coop", "tfds"]
Split = Literal["train", "val", "test"]


@dataclass(frozen=True, eq=False, repr=False)
class Benchmark:
    """What is known of one benchmark, and how its images are read under either protocol.

    Under "coop" the images lie in folders as CoOp's DATASETS.md says, with CoOp's split files or
    the official lists. Under "tfds" tensorflow-datasets has prepared them, and what it does not
    split is split here. The test images of the two differ, and so do the results: every result
    must name its protocol.

    Args:
        name: Its name here and on the command line.
        title: Its name in papers.
        num_classes: Number of classes.
        coop_sizes: Images of each split that it has under "coop".
        prompt_template: A key of `keras_cmm.clip.PROMPT_TEMPLATES`.
        coop_folder: Its folder in the data folder.
        coop_images: Where the images are in that folder, "." for the folder itself.
        coop_layout: How they are laid out: in a CoOp split file ("split_file"), in FGVC-Aircraft's
            lists ("aircraft"), in folders by WordNet id ("wnids") or by number ("numbers").
        coop_split_file: Name of the split file, "" where there is none.
        tfds_name: Name in tensorflow-datasets, with the config.
        tfds_sizes: Images of each of the splits that TFDS has.
        tfds_splits: For each of our splits the split of TFDS, and which part of each class of it,
            as two fractions.
        sources: Where to get it.
        licence: What is known of its licence.
        traps: What has cost others time.
        tfds_class_name: From a class name in TFDS to CLIP's, "" for a class that is dropped.

    Example:
        >>> from keras_cmm.data.benchmarks.registry import get_benchmark
        >>> eurosat = get_benchmark("eurosat")
        >>> eurosat.num_classes, eurosat.coop_sizes["test"], eurosat.class_names[:2]
        (10, 8100, ('Annual Crop Land', 'Forest'))

    References:
        https://github.com/KaiyangZhou/CoOp, DATASETS.md.
    """

    name: str
    title: str
    num_classes: int
    coop_sizes: Mapping[str, int]
    prompt_template: str
    coop_folder: str
    coop_images: str
    coop_layout: Literal["split_file", "aircraft", "wnids", "numbers"]
    coop_split_file: str
    tfds_name: str
    tfds_sizes: Mapping[str, int]
    tfds_splits: Mapping[str, tuple[str, float, float]]
    sources: tuple[str, ...]
    licence: str
    traps: tuple[str, ...] = ()
    tfds_class_name: Callable[[str], str] = str

    def __repr__(self) -> str:
        return f"Benchmark({self.name!r})"

    @property
    def is_imagenet(self) -> bool:
        """Whether its classes are ImageNet's, or some of them."""
        return self.coop_layout in ("wnids", "numbers")

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """CLIP's class names in CoOp's order, or `None` where only files beside the images tell."""
        names = _class_names().get(self.name)
        return None if names is None else tuple(names)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that it has, under both protocols the same."""
        return tuple(self.coop_sizes)

    def load(
        self, split: Split = "test", *, protocol: Protocol, data_dir: str | Path
    ) -> ImageSource:
        """Lists the images of one split.

        Args:
            split: The split. ImageNet has no "val": draw validation images from what is left of
                "train". The shifts have "test" only.
            protocol: Where images and splits come from, "coop" or "tfds".
            data_dir: For "coop" the folder that holds `coop_folder`, for "tfds" the one that
                holds TFDS's data sets. ImageNet's class names are read from
                "imagenet/classnames.txt" in it under both.

        Returns:
            The images under CLIP's class names. Classes are numbered as in CoOp under "coop" and as
            in TFDS, without the dropped ones, under "tfds". Two classes of ImageNet may share a
            name.

        Raises:
            InputError: If it has no such split, or files are missing or cannot be read.
        """
        if protocol not in ("coop", "tfds"):
            raise ValueError(f'`protocol` must be "coop" or "tfds". Received: {protocol=}')
        if split not in self.splits:
            raise InputError(
                f"{self.name}: has no split {split!r}; it has {', '.join(self.splits)}."
            )
        if protocol == "coop":
            source = load_coop(self, split, Path(data_dir))
            self._warn_of_parts(len(source), self.coop_sizes[split], source, split)
            return source
        source, found = load_tfds(self, split, Path(data_dir))
        self._warn_of_parts(found, self.tfds_sizes[self.tfds_splits[split][0]], source, split)
        return source

    def check(
        self, *, protocol: Protocol, data_dir: str | Path, every_image: bool = False
    ) -> tuple[str, ...]:
        """Looks for what is missing, strange or damaged on disk.

        Args:
            protocol: As for `load`.
            data_dir: As for `load`.
            every_image: Under "coop", read every image to the end, which takes minutes to hours,
                instead of 500 spread over the set. None is changed.

        Returns:
            The problems, each a sentence with its mend; none if the set is whole.
        """
        if protocol == "tfds":
            return tuple(check_tfds(self, Path(data_dir)))
        return tuple(check_coop(self, Path(data_dir), every_image))

    def imagenet_classes(
        self, *, protocol: Protocol, data_dir: str | Path
    ) -> npt.NDArray[np.int64]:
        """Tells which of ImageNet's classes the classes of a shift are.

        A classifier that is trained on ImageNet is scored on ImageNet-A and -R among these only.

        Args:
            protocol: As for `load`.
            data_dir: As for `load`.

        Returns:
            `(num_classes,)` class ids of ImageNet, ascending: class `i` of `load` is class
            `ids[i]` of ImageNet.

        Raises:
            InputError: If it is no shift of ImageNet, or files are missing.
        """
        if not self.is_imagenet:
            raise InputError(f"{self.name}: is not a version of ImageNet.")
        return read_wnids(self, protocol, Path(data_dir))

    def _warn_of_parts(self, found: int, expected: int, source: ImageSource, split: str) -> None:
        classes = len(source.class_names)
        if (found, classes) != (expected, self.num_classes):
            warnings.warn(
                f"{self.name}, {split}: has {found:,} images of {classes:,} classes instead of "
                f"{expected:,} of {self.num_classes:,}, so results are not comparable with others; "
                f"`keras-cmm datasets check {self.name}` says what is missing.",
                stacklevel=3,
            )


@functools.cache
def _class_names() -> dict[str, list[str]]:
    text = (
        resources.files("keras_cmm.data.benchmarks").joinpath("class_names.json").read_text("utf-8")
    )
    names: dict[str, list[str]] = json.loads(text)
    return names
