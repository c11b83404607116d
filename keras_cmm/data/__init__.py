"""Data: labelled images, embeddings files, few-shot samples, benchmarks, the demo's pictures.

Importing it needs numpy, Pillow and safetensors only. A source imports what else it needs when it
is used.
"""

from keras_cmm.data.benchmarks import BENCHMARKS, Benchmark, BenchmarkFacts, get_benchmark
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
from keras_cmm.data.named_embeddings import NamedEmbeddings
from keras_cmm.data.tfds_source import TFDSSource
from keras_cmm_runtime.sources import (
    ArchiveSource,
    HFSource,
    ImageList,
    ImageSource,
    StoredImage,
    find_images,
    open_images,
    open_splits,
    read_class_names,
    read_coop_split,
)

__all__ = [
    "BENCHMARKS",
    "ArchiveSource",
    "Benchmark",
    "BenchmarkFacts",
    "DemoSet",
    "EmbeddingSet",
    "FewShotDraws",
    "FewShotSample",
    "HFSource",
    "ImageList",
    "ImageSource",
    "NamedEmbeddings",
    "StoredImage",
    "TFDSSource",
    "find_images",
    "get_benchmark",
    "key_digests",
    "open_images",
    "open_splits",
    "read_class_names",
    "read_coop_split",
    "read_few_shot_indices",
    "row_keys",
    "sample_few_shot",
    "sample_validation",
]
