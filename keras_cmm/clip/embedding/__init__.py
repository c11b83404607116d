"""Embedding images and texts, and storing image embeddings on disk."""

from keras_cmm.clip.embedding.embedded_images import EmbeddedImages
from keras_cmm.clip.embedding.image_embedder import ImageEmbedder
from keras_cmm.clip.embedding.joint_embedder import JointEmbedder
from keras_cmm.clip.embedding.text_embedder import TextEmbedder
from keras_cmm_runtime.embeddings.embedding_store import EmbeddingStore

__all__ = ["EmbeddedImages", "EmbeddingStore", "ImageEmbedder", "JointEmbedder", "TextEmbedder"]
