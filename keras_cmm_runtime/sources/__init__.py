"""Sources of labelled images: folders, lists, archives and Hugging Face data sets."""

from keras_cmm_runtime.sources.archive_source import ArchiveSource
from keras_cmm_runtime.sources.class_names import read_class_names
from keras_cmm_runtime.sources.coop_split import read_coop_split
from keras_cmm_runtime.sources.folders import find_images
from keras_cmm_runtime.sources.hf_source import HFSource, pairs_of_dataset
from keras_cmm_runtime.sources.image_list import ImageList
from keras_cmm_runtime.sources.image_source import ImageSource
from keras_cmm_runtime.sources.open_images import open_images, open_splits
from keras_cmm_runtime.sources.stored_image import StoredImage

__all__ = [
    "ArchiveSource",
    "HFSource",
    "ImageList",
    "ImageSource",
    "StoredImage",
    "find_images",
    "open_images",
    "open_splits",
    "pairs_of_dataset",
    "read_class_names",
    "read_coop_split",
]
