"""FGVC-Aircraft for tensorflow-datasets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from keras_cmm.data.benchmarks.benchmark_facts import known_class_names
from keras_cmm.data.benchmarks.coop_layout import read_aircraft

_URL = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz"
_CITATION = """@techreport{maji13fine-grained,
  title = {Fine-Grained Visual Classification of Aircraft},
  author = {S. Maji and J. Kannala and E. Rahtu and M. Blaschko and A. Vedaldi},
  year = {2013},
  eprint = {1306.5151},
  archivePrefix = {arXiv},
}"""


class FGVCAircraft(tfds.core.GeneratorBasedBuilder):
    """Aircraft of 100 variants, with the official training, validation and test images.

    `download_and_prepare` gets the archive, 2.6 GB, and makes the splits "train", "validation" and
    "test". An example has the features `image`, `label` and `file_name`.

    Example:
        >>> import tensorflow_datasets as tfds
        >>> with tfds.testing.mock_data():
        ...     builder = FGVCAircraft()
        >>> builder.info.features["label"].names[:2]
        ['707-320', '727-200']

    References:
        Maji et al., "Fine-Grained Visual Classification of Aircraft", arXiv:1306.5151.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Variants of the archive 2013b."}  # noqa: RUF012

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description="10,000 photos of aircraft of 100 variants.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=known_class_names()["fgvc_aircraft"]),
                    "file_name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = Path(dl_manager.download_and_extract(_URL)) / "fgvc-aircraft-2013b" / "data"
        return {
            "train": self._generate_examples(folder, "train"),
            "validation": self._generate_examples(folder, "val"),
            "test": self._generate_examples(folder, "test"),
        }

    def _generate_examples(self, folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        variants, rows = read_aircraft(folder, split)
        for file_name, label in rows:
            path = folder / "images" / file_name
            yield (
                file_name,
                {"image": path, "label": variants[label], "file_name": file_name},
            )
