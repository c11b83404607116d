"""FGVC-Aircraft for tensorflow-datasets."""

from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from keras_cmm.data.benchmarks.coop_layout import read_aircraft
from keras_cmm.data.benchmarks.tfds_builders.labelled_images_builder import (
    Images,
    LabelledImagesBuilder,
)

_URL = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz"


class FGVCAircraft(LabelledImagesBuilder, tfds.core.GeneratorBasedBuilder):
    """Aircraft of 100 variants, with the official training, validation and test images.

    `download_and_prepare` downloads the archive, 2.6 GB, and makes the splits "train", "validation"
    and "test". An example has the features `image`, `label` and `file_name`.

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

    BENCHMARK = "fgvc_aircraft"
    DESCRIPTION = "10,000 photos of aircraft of 100 variants."
    HOMEPAGE = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
    CITATION = """@techreport{maji13fine-grained,
  title = {Fine-Grained Visual Classification of Aircraft},
  author = {S. Maji and J. Kannala and E. Rahtu and M. Blaschko and A. Vedaldi},
  year = {2013},
  eprint = {1306.5151},
  archivePrefix = {arXiv},
}"""

    def _data_folder(self, dl_manager: Any) -> Path:
        return Path(dl_manager.download_and_extract(_URL)) / "fgvc-aircraft-2013b" / "data"

    def _read_split(self, folder: Path, split: str) -> Images:
        return folder / "images", *read_aircraft(folder, split)
