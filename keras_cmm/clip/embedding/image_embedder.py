"""Image embeddings."""

from __future__ import annotations

import hashlib
import itertools
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.clip.backbones.digest import ModelDigest
from keras_cmm.clip.backbones.encoders import VisionEncoder
from keras_cmm.clip.backbones.inference import as_unit_rows, inference_mode, runs_on_cpu
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.embedding.batched import Batched
from keras_cmm.clip.embedding.embedding_buffer import EmbeddingBuffer
from keras_cmm.clip.embedding.embedding_space import KEY_TYPE, EmbeddingSpace
from keras_cmm.clip.embedding.embedding_store import EmbeddingStore
from keras_cmm.clip.inputs.image_preprocessor import ImagePreprocessor
from keras_cmm.clip.inputs.image_reading import file_bytes, image_name, is_one_image, read_image
from keras_cmm.errors import InputError


class EmbeddedImages(NamedTuple):
    """Embeddings, and the images they belong to.

    Args:
        embeddings: float32 `(n, dim)`, rows of unit length.
        rows: int64 `(n,)`, the number of each row's image among those given.
    """

    embeddings: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]


class ImageEmbedder(Batched):
    """Embeds images with a CLIP image encoder, exactly as CLIP preprocesses them.

    Images are read and resized in threads while the encoder works. Only a few batches are held at a
    time, so memory grows with the embeddings alone.

    Args:
        clip_model: the model, as `keras_cmm.clip.load` returns it.
        batch_size: int. Images a forward pass.
        store: an `EmbeddingStore` that embeddings are looked up in and written to, or `None`. It
            may be set or exchanged at any time: `embedder.store = EmbeddingStore("folder")`.
        dtype: `"float32"`, `"bfloat16"` or `"float16"`, what the encoder multiplies in; its layer
            norms, softmax and sums stay float32. `None` for the backbone's. Only CLIP's ViTs on the
            torch backend can be used in another dtype than they were loaded with.

    Raises:
        InputError: If `dtype` is another one.
        ValueError: If `batch_size` is no int of 1 or more, also where it is set later.

    Example:
        >>> from keras_cmm import clip  # doctest: +SKIP
        >>> embedder = clip.ImageEmbedder(clip.load("clip_vit_base_patch16"))  # doctest: +SKIP
        >>> embedder.embed(["cat.jpg", "dog.png"]).embeddings.shape  # doctest: +SKIP
        (2, 512)

    References:
        Radford et al., ICML 2021, arXiv:2103.00020.
    """

    def __init__(
        self,
        clip_model: CLIPModel,
        batch_size: int = 32,
        store: EmbeddingStore | None = None,
        dtype: str | None = None,
    ) -> None:
        self.clip_model = clip_model
        self.batch_size = batch_size
        self.store = store
        self.dtype = dtype
        self._encode = VisionEncoder(clip_model.backbone, dtype)
        self._model_digest = ModelDigest(clip_model.backbone)
        self.preprocessor = ImagePreprocessor.from_image_converter(clip_model.image_converter)

    @property
    def store(self) -> EmbeddingStore | None:
        """Where embeddings are kept, or `None`."""
        return self._store

    @store.setter
    def store(self, store: EmbeddingStore | None) -> None:
        if store is not None and not isinstance(store, EmbeddingStore):
            raise ValueError(
                "`store` must be None or an `EmbeddingStore`, such as `EmbeddingStore(folder)`. "
                f"Received: {store!r}"
            )
        self._store = store

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
            InputError: If `images` is a single image, an image cannot be read and `on_error` is
                `"raise"`, or the store cannot be written or is damaged. What is in the store by
                then stays there.
        """
        embeddings = np.empty((0, self.clip_model.backbone.projection_dim), dtype="float32")
        rows = [np.empty(0, dtype="int64")]
        for part in self.embed_parts(images, on_error, progress):
            start = len(embeddings)
            # In place: with `np.concatenate` at the end, all would be held twice.
            embeddings.resize((start + len(part.rows), embeddings.shape[1]), refcheck=False)
            embeddings[start:] = part.embeddings
            rows.append(part.rows)
        return EmbeddedImages(embeddings, np.concatenate(rows))

    def embed_parts(
        self,
        images: Iterable[Any],
        on_error: Literal["raise", "skip"] = "raise",
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Iterator[EmbeddedImages]:
        """Embeds images as `embed` does, but yields the embeddings part by part.

        Memory stays flat, however many images there are.

        Args:
            images: as of `embed`.
            on_error: as of `embed`.
            progress: as of `embed`.

        Yields:
            Embeddings of the next images, and which they are. Without a store a part is a batch,
            with one it is up to `shard_size` images.

        Raises:
            InputError: As `embed`.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f'`on_error` must be "raise" or "skip". Received: {on_error=}')
        _refuse_one_image(images)
        space = self._space()
        total = len(images) if isinstance(images, Sized) else None
        done = 0

        def readable() -> Iterator[_ReadImage]:
            nonlocal done
            reported = 0
            for image in self._read_ahead(images, space):
                done += 1
                if not isinstance(image, InputError):
                    yield image._replace(number=done - 1)
                elif on_error == "raise":
                    raise image
                else:
                    warnings.warn(f"left out: {image}", stacklevel=2)
                if progress and done - reported >= self.batch_size:
                    reported = done
                    progress(done, total)

        if space is None:
            yield from self._embed_all(readable())
        else:
            yield from self._embed_missing(readable(), space)
        if progress:
            progress(done, total)

    def check(self, images: Iterable[Any]) -> Iterator[InputError | None]:
        """Reads images to see whether they can be embedded.

        An image that the store has is not decoded, since it was before.

        Args:
            images: as of `embed`.

        Yields:
            For each image why it cannot be read, or `None`.

        Raises:
            InputError: If `images` is a single image, or the store is damaged.
        """
        _refuse_one_image(images)
        space = self._space()

        def problem(image: Any) -> InputError | None:
            try:
                if space is not None:
                    key, image = _identified(image)
                    if _has(space, key):
                        return None
                self.preprocessor.read(image)
            except InputError as error:
                return error
            return None

        with ThreadPoolExecutor() as pool:
            yield from pool.map(problem, images)

    def _space(self) -> EmbeddingSpace | None:
        """Returns this model's part of the store, if there is a store."""
        if self.store is None:
            return None
        return self.store.space(self._description(), self.clip_model.backbone.projection_dim)

    def _embed_all(self, images: Iterator[_ReadImage]) -> Iterator[EmbeddedImages]:
        while batch := list(itertools.islice(images, self.batch_size)):
            pixels = np.stack([image.pixels for image in batch if image.pixels is not None])
            numbers = np.array([image.number for image in batch], dtype="int64")
            yield EmbeddedImages(self.embed_pixels(pixels), numbers)

    def _embed_missing(
        self, images: Iterator[_ReadImage], space: EmbeddingSpace
    ) -> Iterator[EmbeddedImages]:
        buffer = EmbeddingBuffer(self.embed_pixels, self.batch_size, space)
        try:
            for number, key, pixels in images:
                if buffer.add(number, key, pixels) and self.store is not None:
                    self.store.taken += 1
                if buffer.is_due:
                    yield from itertools.starmap(EmbeddedImages, buffer.take())
            buffer.embed_batch()
            yield from itertools.starmap(EmbeddedImages, buffer.take())
        finally:
            # An image that cannot be read, or Ctrl-C, loses no batch that is done.
            buffer.commit()

    def _description(self) -> dict[str, Any]:
        """Returns all that an embedding depends on besides the image."""
        return {
            "preprocessing": vars(self.preprocessor),
            "backend": keras.backend.backend(),
            "dtype": self.dtype,
            **self._model_digest(),
        }

    def embed_pixels(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Embeds one batch of images that are resized and cropped already.

        Args:
            pixels: values in [0, 255], shape `(batch, image_size, image_size, 3)`.

        Returns:
            float32 array of shape `(batch, dim)`, rows of unit length.
        """
        with inference_mode():
            return as_unit_rows(self._encode(self.preprocessor.normalize(pixels)))

    def _read_ahead(
        self, images: Iterable[Any], space: EmbeddingSpace | None
    ) -> Iterator[_ReadImage | InputError]:
        """Yields the images in their order, or why one cannot be read."""
        ahead = 4 * self.batch_size
        # An encoder on the CPU takes all cores and its threads wait for each other, so that readers
        # beside it cost more than their own time: there it rests while many images are read.
        in_turns = runs_on_cpu(self.clip_model.backbone)
        source = iter(images)
        waiting: deque[Future[_ReadImage | InputError]] = deque()
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            while True:
                if not (in_turns and waiting):
                    for image in itertools.islice(source, ahead - len(waiting)):
                        waiting.append(pool.submit(self._read, image, space))
                    if in_turns:
                        wait(waiting)
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, image: Any, space: EmbeddingSpace | None) -> _ReadImage | InputError:
        try:
            if space is None:
                return _ReadImage(0, b"", self.preprocessor.pixels(image))
            key, image = _identified(image)
            pixels = None if _has(space, key) else self.preprocessor.pixels(image)
            return _ReadImage(0, key, pixels)
        except InputError as error:
            return error


class _ReadImage(NamedTuple):
    """An image that is ready to be embedded; without pixels, where the store has it already."""

    number: int
    key: bytes
    pixels: npt.NDArray[np.uint8] | None


class _FileContent:
    """The bytes of a file, for `read_image`, so that what is embedded is what was hashed."""

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = name

    def read_bytes(self) -> bytes:
        return self._content

    def __str__(self) -> str:
        return self._name


def _refuse_one_image(images: Any) -> None:
    if is_one_image(images):
        raise InputError(
            "images must be given as a list or a batch, `[image]` for one. Received: a single image"
        )


def _identified(image: Any) -> tuple[bytes, Any]:
    """Returns the key of an image in a store, and the image so that it need not be read again."""
    content = file_bytes(image)
    if content is not None:
        return _key(b"file", content), _FileContent(content, image_name(image))
    # All that follows depends on the RGB picture alone, whatever it was made from.
    picture = read_image(image)
    return _key(b"%d %d" % picture.size, picture.tobytes()), picture


def _has(space: EmbeddingSpace, key: bytes) -> bool:
    return bool(space.find(np.frombuffer(key, KEY_TYPE))[0] >= 0)


def _key(head: bytes, content: bytes) -> bytes:
    digest = hashlib.sha256(head + b"\0")
    digest.update(content)
    return digest.digest()[: KEY_TYPE.itemsize]
