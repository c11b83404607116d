"""Middle frames of UCF101 for tensorflow-datasets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from keras_cmm.data.benchmarks.benchmark_facts import known_class_names
from keras_cmm.data.sources.coop_split import read_coop_split

_CITATION = """@article{soomro2012ucf101,
  title = {UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild},
  author = {Khurram Soomro and Amir Roshan Zamir and Mubarak Shah},
  year = {2012},
  eprint = {1212.0402},
  archivePrefix = {arXiv},
}"""


class UCF101MiddleFrames(tfds.core.GeneratorBasedBuilder):
    """The frame in the middle of each video of UCF101, split as CoOp does.

    TFDS's own `ucf101` has the videos, and needs ffmpeg. This one needs no decoding: it reads the
    frames that CoOp's authors have extracted, so that they are the same frames for everyone.

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

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description="One frame of each of 13,320 videos of 101 human actions.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=known_class_names()["ucf101"]),
                    "file_name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://www.crcv.ucf.edu/data/UCF101.php",
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = Path(dl_manager.manual_dir)
        names, splits = read_coop_split(folder / "split_zhou_UCF101.json")
        return {
            ours: self._generate_examples(folder / "UCF-101-midframes", names, splits[theirs])
            for ours, theirs in (("train", "train"), ("validation", "val"), ("test", "test"))
        }

    def _generate_examples(
        self, folder: Path, names: tuple[str, ...], rows: list[tuple[str, int]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for file_name, label in rows:
            yield (
                file_name,
                {"image": folder / file_name, "label": names[label], "file_name": file_name},
            )
