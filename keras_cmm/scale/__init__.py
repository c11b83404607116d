"""Embedding images that are too many for one machine, and classifying the embeddings.

`keras_cmm_runtime.scale` has what does not need Keras: the parts, the engines, and predicting.
"""

from keras_cmm.scale.embed_shards import embed_shards
from keras_cmm.scale.embedding_model import EmbeddingModel
from keras_cmm.scale.keras_encoder import KerasEncoder
from keras_cmm.scale.predict_embedding_shards import predict_embedding_shards
from keras_cmm_runtime.scale import EngineOptions, ShardReport, Storage, predict_shards

__all__ = [
    "EmbeddingModel",
    "EngineOptions",
    "KerasEncoder",
    "ShardReport",
    "Storage",
    "embed_shards",
    "predict_embedding_shards",
    "predict_shards",
]
