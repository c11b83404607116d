"""Image embeddings of two encoders."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from keras_cmm.clip.embedding.embedded_images import EmbeddedImages
from keras_cmm.clip.embedding.image_embedder import ImageEmbedder, refuse_one_image
from keras_cmm_runtime.embeddings.embedding_store import EmbeddingStore
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.items import items

_IMAGES_AT_A_TIME = 1024


class JointEmbedder(ImageEmbedder):
    """Embeds images with two encoders, one after the other, and joins their embeddings.

    Each encoder reads and preprocesses the images in its own way, and has its own part of a store.

    Args:
        first: the embedder whose embeddings come first in a row, CLIP's.
        second: that of the second encoder.

    Example:
        >>> from keras_cmm import clip  # doctest: +SKIP
        >>> embedders = [clip.ImageEmbedder(clip.load(name)) for name in names]  # doctest: +SKIP
        >>> clip.JointEmbedder(*embedders).embed(["cat.jpg"]).embeddings.shape  # doctest: +SKIP
        (1, 1280)
    """

    def __init__(self, first: ImageEmbedder, second: ImageEmbedder) -> None:
        self.first = first
        self.second = second
        self.encoder = first.encoder

    @property
    def store(self) -> EmbeddingStore | None:
        """The store of embeddings, or `None`. Setting it sets that of both."""
        return self.first.store

    @store.setter
    def store(self, store: EmbeddingStore | None) -> None:
        self.first.store = self.second.store = store

    @property
    def batch_size(self) -> int:
        """Number of images in a forward pass. Setting it sets that of both."""
        return self.first.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int | None) -> None:
        self.first.batch_size = self.second.batch_size = batch_size

    @property
    def dim(self) -> int:
        """Length of a row: of both embeddings together."""
        return self.first.dim + self.second.dim

    def embed_parts(
        self,
        images: Iterable[Any],
        on_error: Literal["raise", "skip"] = "raise",
        progress: Callable[[int, int | None], None] | None = None,
        views: int = 0,
    ) -> Iterator[EmbeddedImages]:
        """Embeds images in parts; see `ImageEmbedder.embed_parts`."""
        refuse_one_image(images)
        total = len(images) if isinstance(images, Sized) else None
        source, done = items(images), 0
        while some := list(itertools.islice(source, _IMAGES_AT_A_TIME)):
            of_first = self.first.embed(some, on_error, views=views)
            of_second = self.second.embed([some[row] for row in of_first.rows], views=views)
            rows = np.concatenate([of_first.embeddings, of_second.embeddings], axis=1)
            yield EmbeddedImages(rows, of_first.rows + done)
            done += len(some)
            if progress:
                progress(done, total)

    def check(self, images: Iterable[Any]) -> Iterator[InputError | None]:
        """Checks whether images can be embedded; see `ImageEmbedder.check`."""
        return self.first.check(images)

    def embed_pixels(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Raises an error: each encoder needs pixels of its own."""
        raise InputError(
            "a classifier with a second encoder has no single kind of pixels, so it cannot be "
            "trained on augmented ones; leave out `augmentation` or `also`."
        )
