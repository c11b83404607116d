"""One of the data sets that few-shot methods are compared on."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from keras_cmm.data.benchmarks.benchmark_facts import BenchmarkFacts
from keras_cmm.data.benchmarks.check import check_coop, check_tfds
from keras_cmm.data.benchmarks.coop_layout import load_coop, read_wnids
from keras_cmm.data.benchmarks.tfds_layout import load_tfds, present_classes
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.sources import ImageSource
from keras_cmm_runtime.utils import warn

Protocol = Literal["coop", "tfds"]
Split = Literal["train", "val", "test"]


class Benchmark(BenchmarkFacts):
    """One benchmark: its facts, and its images under either protocol.

    Under "coop" the images lie in folders as CoOp's DATASETS.md says, with CoOp's split files or
    the official lists. Under "tfds" tensorflow-datasets has prepared them, and a split that it does
    not have is split off here. The test images of the two protocols differ, and so do the results:
    every result must name its protocol.

    `BenchmarkFacts` lists its attributes.

    Example:
        >>> from keras_cmm.data import get_benchmark
        >>> eurosat = get_benchmark("eurosat")
        >>> eurosat.num_classes, eurosat.coop_sizes["test"], eurosat.class_names[:2]
        (10, 8100, ('Annual Crop Land', 'Forest'))

    References:
        https://github.com/KaiyangZhou/CoOp, DATASETS.md.
    """

    def load(
        self, split: Split = "test", *, protocol: Protocol, data_dir: str | Path
    ) -> ImageSource:
        """Lists the images of one split.

        Args:
            split: The split. ImageNet has no "val": draw validation images from the rest of
                "train". The shifts have "test" only.
            protocol: Where images and splits come from, "coop" or "tfds".
            data_dir: For "coop" the folder that holds `coop_folder`, for "tfds" the folder of
                TFDS's data sets. Both protocols read ImageNet's class names from
                "imagenet/classnames.txt" in it.

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
        source: ImageSource
        if protocol == "coop":
            source = load_coop(self, split, Path(data_dir))
            found, expected = len(source), self.coop_sizes[split]
        else:
            source, found = load_tfds(self, split, Path(data_dir))
            expected = self.tfds_sizes[self.tfds_splits[split][0]]
        classes = len(source.class_names)
        if (found, classes) != (expected, self.num_classes):
            warn(
                f"{self.name}, {split}: has {found:,} images of {classes:,} classes instead of "
                f"{expected:,} of {self.num_classes:,}, so results are not comparable with others; "
                f"`keras-cmm datasets check {self.name}` says what is missing."
            )
        return source

    def prompts(self, class_names: Sequence[str]) -> dict[str, list[str]]:
        """Returns the prompts of each class, under names that all differ.

        A classifier needs a different name for each class, but ImageNet has two pairs of classes
        with one name. There class 657 becomes "missile (657)". Its prompts do not change, so both
        classes of a pair have the same text embedding.

        Args:
            class_names: The class names of an `ImageSource` that `load` returned.

        Returns:
            The prompts by name, in the order of the classes. They serve as `descriptions` of a
            `CMMImageClassifier` whose `template` is `None`.

        Example:
            >>> from keras_cmm.data.benchmarks import get_benchmark
            >>> get_benchmark("imagenet").prompts(["crane", "crane"])
            {'crane (0)': ['a photo of a crane.'], 'crane (1)': ['a photo of a crane.']}
        """
        from keras_cmm.clip import build_prompts

        times = Counter(class_names)
        names = [
            f"{name} ({label})" if times[name] > 1 else name
            for label, name in enumerate(class_names)
        ]
        prompts = build_prompts(class_names, self.prompt_template)
        return dict(zip(names, prompts, strict=True))

    def check(
        self, *, protocol: Protocol, data_dir: str | Path, every_image: bool = False
    ) -> tuple[str, ...]:
        """Looks for what is missing, unexpected or damaged on disk. Nothing is changed.

        Args:
            protocol: As for `load`.
            data_dir: As for `load`.
            every_image: Under "coop", whether to read every image, which takes minutes to hours,
                or 500 images spread over the set.

        Returns:
            The problems, each a sentence with its mend; none if the set is complete.
        """
        if protocol == "tfds":
            return tuple(check_tfds(self, Path(data_dir)))
        return tuple(check_coop(self, Path(data_dir), every_image))

    def imagenet_classes(
        self, *, protocol: Protocol, data_dir: str | Path
    ) -> npt.NDArray[np.int64]:
        """Returns the classes of ImageNet that a shift has.

        A classifier trained on ImageNet is scored on ImageNet-A and -R among these classes only.

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
        if self.num_classes == 1000:
            return np.arange(1000)
        if protocol == "tfds":
            return present_classes(self, Path(data_dir))
        return read_wnids(self, Path(data_dir))
