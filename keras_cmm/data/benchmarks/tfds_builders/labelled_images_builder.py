"""What our builders for tensorflow-datasets share."""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from keras_cmm.data.benchmarks.benchmark_facts import known_class_names

Images = tuple[Path, tuple[str, ...], list[tuple[str, int]]]
"""The folder of the images, the class names, and the file names with class ids."""


class LabelledImagesBuilder:
    """Builds a data set of JPEG files, their classes and file names, in three splits.

    A builder inherits from it before `tfds.core.GeneratorBasedBuilder`.
    """

    BENCHMARK: str
    DESCRIPTION: str
    HOMEPAGE: str
    CITATION: str

    @abstractmethod
    def _data_folder(self, dl_manager: Any) -> Path:
        """Returns the folder that TFDS has downloaded, or that the user has."""

    @abstractmethod
    def _read_split(self, folder: Path, split: str) -> Images:
        """Returns the image files of "train", "val" or "test" and their class names."""

    def _info(self) -> Any:
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=known_class_names()[self.BENCHMARK]),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = self._data_folder(dl_manager)
        return {
            theirs: self._generate_examples(folder, ours)
            for theirs, ours in (("train", "train"), ("validation", "val"), ("test", "test"))
        }

    def _generate_examples(self, folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        images, names, rows = self._read_split(folder, split)
        for name, label in rows:
            yield name, {"image": images / name, "label": names[label], "file_name": name}
