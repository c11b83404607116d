"""Embedding images and texts, and the store that keeps image embeddings on disk."""

from keras_cmm.clip.embedding.embedding_store import EmbeddingStore
from keras_cmm.clip.embedding.image_embedder import EmbeddedImages, ImageEmbedder
from keras_cmm.clip.embedding.text_embedder import TextEmbedder

__all__ = ["EmbeddedImages", "EmbeddingStore", "ImageEmbedder", "TextEmbedder"]
