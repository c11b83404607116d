"""Data: embeddings files, images and their classes, the demo's pictures and few-shot samples.

Needs numpy, Pillow and safetensors only; what a source needs beyond, it imports when it is used.
"""

from keras_cmm.data.archive_source import ArchiveSource
from keras_cmm.data.benchmark import Benchmark
from keras_cmm.data.coop_split import read_coop_split
from keras_cmm.data.demo_set import DemoSet
from keras_cmm.data.embedding_set import EmbeddingSet
from keras_cmm.data.few_shot import key_digests, row_keys, sample_few_shot
from keras_cmm.data.few_shot_draws import FewShotDraws
from keras_cmm.data.few_shot_indices import read_few_shot_indices
from keras_cmm.data.few_shot_sample import FewShotSample
from keras_cmm.data.hf_source import HFSource
from keras_cmm.data.image_list import ImageList
from keras_cmm.data.image_source import ImageSource
from keras_cmm.data.stored_image import StoredImage
from keras_cmm.data.tfds_source import TFDSSource

__all__ = [
    "ArchiveSource",
    "Benchmark",
    "DemoSet",
    "EmbeddingSet",
    "FewShotDraws",
    "FewShotSample",
    "HFSource",
    "ImageList",
    "ImageSource",
    "StoredImage",
    "TFDSSource",
    "key_digests",
    "read_coop_split",
    "read_few_shot_indices",
    "row_keys",
    "sample_few_shot",
]
