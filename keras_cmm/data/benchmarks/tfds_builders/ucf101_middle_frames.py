"""Middle frames of UCF101 for tensorflow-datasets."""

from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from keras_cmm.data.benchmarks.tfds_builders.labelled_images_builder import (
    Images,
    LabelledImagesBuilder,
)
from keras_cmm_runtime.sources.coop_split import read_coop_split


class UCF101MiddleFrames(LabelledImagesBuilder, tfds.core.GeneratorBasedBuilder):
    """The frame in the middle of each video of UCF101, split as CoOp does.

    TFDS's own `ucf101` has the videos, and needs ffmpeg. This builder reads the frames that CoOp's
    authors extracted, so everyone has the same frames.

    `download_and_prepare` makes the splits "train", "validation" and "test", the last one the
    official test list 1. An example has the features `image`, `label` and `file_name`.

    Example:
        >>> import tensorflow_datasets as tfds
        >>> with tfds.testing.mock_data():
        ...     builder = UCF101MiddleFrames()
        >>> builder.info.features["label"].names[:2]
        ['Apply_Eye_Makeup', 'Apply_Lipstick']

    References:
        Soomro et al., "UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild",
        arXiv:1212.0402; https://github.com/KaiyangZhou/CoOp, DATASETS.md.
    """

    name = "ucf101_middle_frames"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "CoOp's frames and splits."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download UCF-101-midframes.zip and split_zhou_UCF101.json from the links in "
        "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md, unzip the first, and give the "
        "folder that holds UCF-101-midframes/ and split_zhou_UCF101.json as the manual folder, "
        "`tfds.download.DownloadConfig(manual_dir=...)`."
    )

    BENCHMARK = "ucf101"
    DESCRIPTION = "One frame of each of 13,320 videos of 101 human actions."
    HOMEPAGE = "https://www.crcv.ucf.edu/data/UCF101.php"
    CITATION = """@article{soomro2012ucf101,
  title = {UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild},
  author = {Khurram Soomro and Amir Roshan Zamir and Mubarak Shah},
  year = {2012},
  eprint = {1212.0402},
  archivePrefix = {arXiv},
}"""

    def _data_folder(self, dl_manager: Any) -> Path:
        return Path(dl_manager.manual_dir)

    def _read_split(self, folder: Path, split: str) -> Images:
        names, splits = read_coop_split(folder / "split_zhou_UCF101.json")
        return folder / "UCF-101-midframes", names, splits[split]
