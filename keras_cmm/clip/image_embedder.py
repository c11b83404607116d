"""Image embeddings."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.clip._inference import inference_mode, unit_rows
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.image_preprocessor import ImagePreprocessor
from keras_cmm.errors import InputError


class EmbeddedImages(NamedTuple):
    """Embeddings, and the images they belong to.

    Args:
        embeddings: float32 `(n, dim)`, rows of unit length.
        rows: int64 `(n,)`, the number of each row's image among those given.
    """

    embeddings: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]


class ImageEmbedder:
    """Embeds images with a CLIP image encoder, exactly as CLIP preprocesses them.

    Images are read and resized in threads while the encoder works. Only a few batches are held at a
    time, so memory grows with the embeddings alone.

    Args:
        clip_model: the model, as `keras_cmm.clip.load` returns it.
        batch_size: int. Images a forward pass.

    Example:
        >>> from keras_cmm import clip  # doctest: +SKIP
        >>> embedder = clip.ImageEmbedder(clip.load("clip_vit_base_patch16"))  # doctest: +SKIP
        >>> embedder.embed(["cat.jpg", "dog.png"]).embeddings.shape  # doctest: +SKIP
        (2, 512)

    References:
        Radford et al., ICML 2021, arXiv:2103.00020.
    """

    def __init__(self, clip_model: CLIPModel, batch_size: int = 32) -> None:
        self.clip_model = clip_model
        self.batch_size = batch_size
        self.preprocessor = ImagePreprocessor.from_image_converter(clip_model.image_converter)

    def embed(
        self,
        images: Iterable[Any],
        on_error: Literal["raise", "skip"] = "raise",
        progress: Callable[[int, int | None], None] | None = None,
    ) -> EmbeddedImages:
        """Embeds images.

        Args:
            images: what `read_image` takes, any number of them: paths, PIL images, arrays.
            on_error: `"raise"` at an image that cannot be read, or `"skip"` it with a warning that
                names it.
            progress: called with the number of images done and, where it is known, of all.

        Returns:
            The embeddings and which images they belong to.

        Raises:
            InputError: If an image cannot be read and `on_error` is `"raise"`.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f'`on_error` must be "raise" or "skip". Received: {on_error=}')
        total = len(images) if isinstance(images, Sized) else None
        dim = self.clip_model.backbone.projection_dim
        embeddings, rows = [np.empty((0, dim), dtype="float32")], []
        batch: list[npt.NDArray[np.uint8]] = []
        done = 0
        for row, pixels in enumerate(self._read_ahead(images)):
            done = row + 1
            if isinstance(pixels, InputError):
                if on_error == "raise":
                    raise pixels
                warnings.warn(f"left out: {pixels}", stacklevel=2)
                continue
            batch.append(pixels)
            rows.append(row)
            if len(batch) == self.batch_size:
                embeddings.append(self.embed_pixels(np.stack(batch)))
                batch.clear()
                if progress:
                    progress(done, total)
        if batch:
            embeddings.append(self.embed_pixels(np.stack(batch)))
        if progress:
            progress(done, total)
        return EmbeddedImages(np.concatenate(embeddings), np.array(rows, dtype="int64"))

    def embed_pixels(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Embeds one batch of images that are resized and cropped already.

        Args:
            pixels: values in [0, 255], shape `(batch, image_size, image_size, 3)`.

        Returns:
            float32 array of shape `(batch, dim)`, rows of unit length.
        """
        with inference_mode():
            images = ops.convert_to_tensor(self.preprocessor.normalize(pixels))
            return unit_rows(self.clip_model.backbone.get_vision_embeddings(images))

    def _read_ahead(self, images: Iterable[Any]) -> Iterator[npt.NDArray[np.uint8] | InputError]:
        """Yields the pixels of the images in their order, or why one cannot be read."""
        ahead = 4 * self.batch_size
        waiting: deque[Future[npt.NDArray[np.uint8] | InputError]] = deque()
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            for image in images:
                waiting.append(pool.submit(self._pixels_or_error, image))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _pixels_or_error(self, image: Any) -> npt.NDArray[np.uint8] | InputError:
        try:
            return self.preprocessor.pixels(image)
        except InputError as error:
            return error
