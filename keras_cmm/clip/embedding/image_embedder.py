"""Image embeddings."""

from __future__ import annotations

import itertools
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.embedding.batched import Batched, usual_batch_size
from keras_cmm.clip.embedding.embedded_images import EmbeddedImages
from keras_cmm.clip.embedding.embedding_buffer import EmbeddingBuffer
from keras_cmm.clip.embedding.image_keys import identify
from keras_cmm.clip.encoders import Encoder, KerasHubEncoder
from keras_cmm_runtime.embeddings.embedding_space import EmbeddingSpace
from keras_cmm_runtime.embeddings.embedding_store import EmbeddingStore
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImagePreprocessor, ImageView, is_one_image
from keras_cmm_runtime.utils.check_number import check_int
from keras_cmm_runtime.utils.items import items
from keras_cmm_runtime.utils.unit_rows import unit_rows

_IMAGES_AT_A_TIME = 1024

# The key of an image, and its pixels, or `None` if the store has its embedding.
_Read = tuple[bytes, npt.NDArray[np.uint8] | None]
# The same after the number of the image.
_Numbered = tuple[int, bytes, npt.NDArray[np.uint8] | None]


class ImageEmbedder(Batched):
    """Embeds images, preprocessed exactly as in the training of the encoder.

    Threads read and resize images while the encoder works. Only a few batches are held at a time,
    so only the embeddings take memory.

    Args:
        model: the model, as `keras_cmm.clip.load` returns it, or an `Encoder`.
        batch_size: int. Number of images in a forward pass. It may be set later too. `None` for 32,
            or on a CUDA GPU for what its free memory holds, up to 256. An `Encoder` may have a
            `batch_size` of its own.
        store: an `EmbeddingStore` to look embeddings up in and to write them to, or `None`. It may
            be set later too: `embedder.store = EmbeddingStore("folder")`.
        dtype: dtype of the matrix products of a model, see `KerasHubEncoder`. An `Encoder` has its
            own.
        engine: what runs a model on a CPU: `"keras"`, `"onnx"`, or `"auto"` for the faster one; see
            `KerasHubEncoder`. An `Encoder` has its own.

    Raises:
        InputError: If `dtype` or `engine` is none of them.
        ValueError: If `batch_size` is not an int >= 1, `store` is not an `EmbeddingStore`, or
            `dtype` or `engine` is given for an `Encoder`.

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
        model: CLIPModel | Encoder,
        batch_size: int | None = None,
        store: EmbeddingStore | None = None,
        dtype: str | None = None,
        engine: str | None = None,
    ) -> None:
        if isinstance(model, CLIPModel):
            model = KerasHubEncoder(model, dtype, engine)
        elif dtype is not None:
            raise ValueError(
                "`dtype` must be None for an encoder, which has a dtype of its own. "
                f"Received: {dtype=}"
            )
        elif engine is not None:
            raise ValueError(
                "`engine` must be None for an encoder, which is an engine itself. "
                f"Received: {engine=}"
            )
        self.encoder: Encoder = model
        self.batch_size = batch_size
        self.store = store

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.encoder.dim

    @property
    def preprocessor(self) -> ImagePreprocessor:
        """What reads, resizes and crops images."""
        return self.encoder.preprocessor

    @property
    def store(self) -> EmbeddingStore | None:
        """The store of embeddings, or `None`."""
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
        views: int = 0,
    ) -> EmbeddedImages:
        """Embeds images.

        Args:
            images: an iterable of what `read_image` takes: paths, PIL images, arrays.
            on_error: what to do about an image that cannot be read: `"raise"` an error, or `"skip"`
                the image with a warning that names it.
            progress: called with the number of images done, and the number of all images or `None`
                if it is not known.
            views: int, at least 0. So many augmented views of each image are embedded too, see
                `ImageView`, and the image gets the mean of all its embeddings, of unit length. A
                store keeps each of them.

        Returns:
            The embeddings and the numbers of their images.

        Raises:
            InputError: If `images` is a single image, if `views` is no int >= 0, if an image cannot
                be read and `on_error` is `"raise"`, or if the store cannot be written or is
                damaged. Embeddings that were written to the store stay there.
        """
        embeddings = np.empty((0, self.dim), dtype="float32")
        rows = [np.empty(0, dtype="int64")]
        for part in self.embed_parts(images, on_error, progress, views):
            start = len(embeddings)
            # In place, since `np.concatenate` at the end would hold all embeddings twice.
            embeddings.resize((start + len(part.rows), embeddings.shape[1]), refcheck=False)
            embeddings[start:] = part.embeddings
            rows.append(part.rows)
        return EmbeddedImages(embeddings, np.concatenate(rows))

    def embed_parts(
        self,
        images: Iterable[Any],
        on_error: Literal["raise", "skip"] = "raise",
        progress: Callable[[int, int | None], None] | None = None,
        views: int = 0,
    ) -> Iterator[EmbeddedImages]:
        """Embeds images like `embed`, but yields the embeddings in parts.

        The memory it takes does not grow with the number of images.

        Args:
            images: as in `embed`.
            on_error: as in `embed`.
            progress: as in `embed`.
            views: as in `embed`.

        Yields:
            Embeddings and the numbers of their images: a batch, or with a store up to `shard_size`
            images, or with views up to 1,024.

        Raises:
            InputError: As `embed`.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f'`on_error` must be "raise" or "skip". Received: {on_error=}')
        check_int("views", views, 0)
        refuse_one_image(images)
        if views:
            yield from self._embed_views(images, views, on_error, progress)
            return
        space = self._space()
        total = len(images) if isinstance(images, Sized) else None
        done = 0

        def readable() -> Iterator[_Numbered]:
            nonlocal done
            reported, step = 0, self.batch_size
            for number, image in enumerate(self._read_ahead(images, space)):
                done = number + 1
                if not isinstance(image, InputError):
                    yield number, *image
                elif on_error == "raise":
                    raise image
                else:
                    warnings.warn(f"left out: {image}", stacklevel=2)
                if progress and done - reported >= step:
                    reported = done
                    progress(done, total)

        encoder = self.encoder if isinstance(self.encoder, KerasHubEncoder) else None
        if encoder is not None:
            # A stream without a number counts as a small job, and gives the same bits as a list.
            encoder.expect(total or 0)
        try:
            if space is None:
                yield from self._embed_all(readable())
            else:
                yield from self._embed_missing(readable(), space)
        finally:
            if encoder is not None:
                encoder.expect(0)
        if progress:
            progress(done, total)

    def check(self, images: Iterable[Any]) -> Iterator[InputError | None]:
        """Checks whether images can be embedded.

        An image in the store is not decoded again.

        Args:
            images: as in `embed`.

        Yields:
            For each image the reason why it cannot be read, or `None`.

        Raises:
            InputError: If `images` is a single image, or the store is damaged.
        """
        refuse_one_image(images)
        space = self._space()

        def problem(image: Any) -> InputError | None:
            try:
                if space is not None:
                    key, image = identify(image)
                    if key in space:
                        return None
                self.preprocessor.read(image)
            except InputError as error:
                return error
            return None

        with ThreadPoolExecutor() as pool:
            yield from pool.map(problem, items(images))

    def embed_pixels(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Embeds one batch of resized and cropped images.

        Args:
            pixels: values in [0, 255], shape `(batch, image_size, image_size, 3)`.

        Returns:
            float32 array of shape `(batch, dim)`, rows of unit length.
        """
        return self.encoder.embed_pixels(pixels)

    @property
    def _usual_batch_size(self) -> int:
        return usual_batch_size(self.encoder)

    def _begin(self, pixels: npt.NDArray[Any]) -> Callable[[], npt.NDArray[np.float32]]:
        """Begins to embed a batch; what it returns gives the embeddings."""
        begin = self._begin_pixels
        if begin is not None:
            return begin(pixels)
        embeddings = self.embed_pixels(pixels)
        return lambda: embeddings

    @property
    def _begin_pixels(self) -> Callable[..., Callable[[], npt.NDArray[np.float32]]] | None:
        return getattr(self.encoder, "begin_pixels", None)

    @property
    def _in_flight(self) -> int:
        """Number of batches that the encoder computes while others are read."""
        return 0 if self._begin_pixels is None else 1

    def _space(self) -> EmbeddingSpace | None:
        """Returns this model's part of the store, or `None` without a store."""
        if self.store is None:
            return None
        # All that an embedding depends on, except the image.
        description = {"preprocessing": vars(self.preprocessor), **self.encoder.digest()}
        return self.store.space(description, self.encoder.dim)

    def _embed_views(
        self,
        images: Iterable[Any],
        views: int,
        on_error: Literal["raise", "skip"],
        progress: Callable[[int, int | None], None] | None,
    ) -> Iterator[EmbeddedImages]:
        total = len(images) if isinstance(images, Sized) else None
        source, done = items(images), 0
        while some := list(itertools.islice(source, _IMAGES_AT_A_TIME)):
            plain = self.embed(some, on_error)
            of_some = [
                ImageView(some[row], number) for row in plain.rows for number in range(1, views + 1)
            ]
            shown = progress and partial(_report_views, progress, views, done, total)
            others = self.embed(of_some, progress=shown).embeddings
            sums = others.reshape(len(plain.rows), views, self.dim).sum(axis=1) + plain.embeddings
            yield EmbeddedImages(unit_rows(sums), plain.rows + done)
            done += len(some)
        if progress:
            progress(done, total)

    def _embed_all(self, images: Iterator[_Numbered]) -> Iterator[EmbeddedImages]:
        in_flight = self._in_flight
        begun: deque[tuple[Callable[[], npt.NDArray[np.float32]], npt.NDArray[np.int64]]] = deque()
        while batch := list(itertools.islice(images, self.batch_size)):
            pixels = np.stack([pixels for _, _, pixels in batch if pixels is not None])
            numbers = np.array([number for number, _, _ in batch], dtype="int64")
            begun.append((self._begin(pixels), numbers))
            if len(begun) > in_flight:
                embeddings, numbers = begun.popleft()
                yield EmbeddedImages(embeddings(), numbers)
        for embeddings, numbers in begun:
            yield EmbeddedImages(embeddings(), numbers)

    def _embed_missing(
        self, images: Iterator[_Numbered], space: EmbeddingSpace
    ) -> Iterator[EmbeddedImages]:
        buffer = EmbeddingBuffer(self._begin, self.batch_size, space, self._in_flight)
        try:
            for number, key, pixels in images:
                if buffer.add(number, key, pixels) and self.store is not None:
                    self.store.taken += 1
                if buffer.is_due:
                    yield from buffer.take()
            buffer.embed_batch()
            yield from buffer.take()
        finally:
            # Keeps the batches that are done if an image cannot be read or the user interrupts.
            buffer.commit()

    def _read_ahead(
        self, images: Iterable[Any], space: EmbeddingSpace | None
    ) -> Iterator[_Read | InputError]:
        """Yields the images in their order. For an image that cannot be read, yields the error."""
        ahead = 4 * self.batch_size
        # On the CPU the encoder takes all cores, and its threads wait for each other. Readers at
        # its side would cost more than they save, so the encoder rests while images are read.
        in_turns = self.encoder.on_cpu
        source = items(images)
        waiting: deque[Future[_Read | InputError]] = deque()
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

    def _read(self, image: Any, space: EmbeddingSpace | None) -> _Read | InputError:
        try:
            if space is None:
                return b"", self.preprocessor.pixels(image)
            key, image = identify(image)
            return key, None if key in space else self.preprocessor.pixels(image)
        except InputError as error:
            return error


def _report_views(
    progress: Callable[[int, int | None], None],
    views: int,
    before: int,
    total: int | None,
    embedded: int,
    _: int | None,
) -> None:
    progress(before + embedded // views, total)


def refuse_one_image(images: Any) -> None:
    """Raises `InputError` for a single image, where many are expected."""
    if is_one_image(images):
        raise InputError(
            "`images` must be a list or a batch of images, such as `[image]` for one. "
            "Received: a single image"
        )
