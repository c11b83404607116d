"""Where labelled images come from: folders, lists, archives, Hugging Face and TFDS data sets."""

from keras_cmm.data.sources.archive_source import ArchiveSource
from keras_cmm.data.sources.coop_split import read_coop_split
from keras_cmm.data.sources.hf_source import HFSource
from keras_cmm.data.sources.image_list import ImageList
from keras_cmm.data.sources.image_source import ImageSource
from keras_cmm.data.sources.stored_image import StoredImage
from keras_cmm.data.sources.tfds_source import TFDSSource

__all__ = [
    "ArchiveSource",
    "HFSource",
    "ImageList",
    "ImageSource",
    "StoredImage",
    "TFDSSource",
    "read_coop_split",
]
