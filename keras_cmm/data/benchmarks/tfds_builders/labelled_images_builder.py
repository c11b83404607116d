"""What our builders for tensorflow-datasets share."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from keras_cmm.data.benchmarks.benchmark_facts import known_class_names

Rows = Sequence[tuple[str, int]]


class LabelledImagesBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Builds a data set of JPEG files, their classes and file names, in three splits.

    A subclass sets `VERSION`, the constants below and `_read_split`.
    """

    BENCHMARK: str
    """Name of the benchmark that has its classes."""
    DESCRIPTION: str
    HOMEPAGE: str
    CITATION: str

    def _read_split(self, dl_manager: Any, split: str) -> tuple[Path, Sequence[str], Rows]:
        """Returns the folder of images, the class names, and the file names with class ids.

        Args:
            dl_manager: TFDS's download manager.
            split: "train", "val" or "test".
        """
        raise NotImplementedError

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
        return {
            theirs: self._generate_examples(*self._read_split(dl_manager, ours))
            for theirs, ours in (("train", "train"), ("validation", "val"), ("test", "test"))
        }

    def _generate_examples(
        self, folder: Path, names: Sequence[str], rows: Rows
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for file_name, label in rows:
            example = {"image": folder / file_name, "label": names[label], "file_name": file_name}
            yield file_name, example
