"""Sources of labelled images: folders, lists, archives, Hugging Face and TFDS data sets."""

from keras_cmm.data.sources.archive_source import ArchiveSource
from keras_cmm.data.sources.class_names import read_class_names
from keras_cmm.data.sources.coop_split import read_coop_split
from keras_cmm.data.sources.folders import find_images
from keras_cmm.data.sources.hf_source import HFSource
from keras_cmm.data.sources.image_list import ImageList
from keras_cmm.data.sources.image_source import ImageSource
from keras_cmm.data.sources.open_images import open_images, open_splits
from keras_cmm.data.sources.stored_image import StoredImage
from keras_cmm.data.sources.tfds_source import TFDSSource

__all__ = [
    "ArchiveSource",
    "HFSource",
    "ImageList",
    "ImageSource",
    "StoredImage",
    "TFDSSource",
    "find_images",
    "open_images",
    "open_splits",
    "read_class_names",
    "read_coop_split",
]
