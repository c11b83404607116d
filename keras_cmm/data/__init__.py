"""Data: embeddings files, image lists, the demo's pictures and few-shot samples.

Needs numpy, Pillow and safetensors only.
"""

from keras_cmm.data.demo_set import DemoSet
from keras_cmm.data.embedding_set import EmbeddingSet
from keras_cmm.data.few_shot import row_keys, sample_few_shot
from keras_cmm.data.few_shot_sample import FewShotSample
from keras_cmm.data.image_list import ImageList

__all__ = [
    "DemoSet",
    "EmbeddingSet",
    "FewShotSample",
    "ImageList",
    "row_keys",
    "sample_few_shot",
]
