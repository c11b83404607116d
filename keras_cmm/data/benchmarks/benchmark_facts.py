"""The facts about one benchmark."""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class BenchmarkFacts:
    """The facts about one benchmark, as `benchmarks.toml` lists them.

    Args:
        name: Its name here and on the command line.
        title: Its name in papers.
        num_classes: Number of classes.
        coop_sizes: Number of images of each split under the protocol "coop".
        prompt_template: A key of `keras_cmm.clip.PROMPT_TEMPLATES`.
        coop_folder: Its folder in the data folder.
        coop_images: The folder of images in `coop_folder`, "." for that folder itself.
        coop_layout: The layout of the images: listed in a CoOp split file ("split_file"), listed as
            in FGVC-Aircraft ("aircraft"), or in folders named by WordNet id ("wnids") or by number
            ("numbers").
        coop_split_file: Name of the split file, "" if there is none.
        tfds_name: Name in tensorflow-datasets, with the config.
        tfds_sizes: Number of images of each split that TFDS has.
        tfds_splits: For each of our splits the split of TFDS, and the part of each class of it, as
            two fractions.
        sources: Where to download it.
        licence: What is known of its licence.
        traps: Mistakes that others have made with it.
        tfds_class_name: Turns a class name of TFDS into CLIP's, "" for a class that is dropped.
    """

    name: str
    title: str
    num_classes: int
    coop_sizes: Mapping[str, int]
    prompt_template: str
    coop_folder: str
    coop_images: str
    coop_layout: Literal["split_file", "aircraft", "wnids", "numbers"] = "split_file"
    coop_split_file: str = ""
    tfds_name: str
    tfds_sizes: Mapping[str, int]
    tfds_splits: Mapping[str, tuple[str, float, float]]
    sources: tuple[str, ...]
    licence: str
    traps: tuple[str, ...] = ()
    tfds_class_name: Callable[[str], str] = str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def is_imagenet(self) -> bool:
        """Whether its classes are ImageNet's, or some of them."""
        return self.coop_layout in ("wnids", "numbers")

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """CLIP's class names in CoOp's order, or `None` if the package does not list them."""
        return known_class_names().get(self.name)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits, the same under both protocols."""
        return tuple(self.coop_sizes)


@functools.cache
def known_class_names() -> dict[str, tuple[str, ...]]:
    """Returns the class names of the benchmarks whose names come with the package."""
    text = resources.files(__package__).joinpath("class_names.json").read_text("utf-8")
    return {name: tuple(names) for name, names in json.loads(text).items()}
