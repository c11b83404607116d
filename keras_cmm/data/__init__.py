"""Data: embeddings files, images and their classes, the demo's pictures and few-shot samples.

Needs numpy, Pillow and safetensors only; what a source needs beyond, it imports when it is used.
"""

from keras_cmm.data.benchmarks import Benchmark
from keras_cmm.data.demo_set import DemoSet
from keras_cmm.data.embedding_set import EmbeddingSet
from keras_cmm.data.few_shot import (
    FewShotDraws,
    FewShotSample,
    key_digests,
    read_few_shot_indices,
    row_keys,
    sample_few_shot,
    sample_validation,
)
from keras_cmm.data.sources import (
    ArchiveSource,
    HFSource,
    ImageList,
    ImageSource,
    StoredImage,
    TFDSSource,
    read_coop_split,
)

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
    "sample_validation",
]
