"""Embeddings of images that are kept on disk; needs filelock and safetensors."""

from keras_cmm_runtime.embeddings.embedding_space import KEY_BYTES, KEY_TYPE, EmbeddingSpace
from keras_cmm_runtime.embeddings.embedding_store import EmbeddingStore

__all__ = ["KEY_BYTES", "KEY_TYPE", "EmbeddingSpace", "EmbeddingStore"]
