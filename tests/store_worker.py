"""Fills an embedding store in a process that may be killed, with an encoder that costs nothing.

Processes are forked from a server that has imported Keras once, so that a test can have many.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from keras_cmm.clip import CLIPModel, EmbeddingStore, ImageEmbedder
from keras_cmm.clip.embedding import embedding_buffer

DIM = 48
BATCH_SIZE = 4
SHARD_SIZE = 10

context = multiprocessing.get_context("forkserver")
# This module cannot be preloaded: Python 3.11 does not give the server pytest's `sys.path`.
context.set_forkserver_preload(["keras_cmm.clip"])


class StubEmbedder(ImageEmbedder):
    """Gives embeddings that depend on the batch. Those of real encoders do in their last bits."""

    def __init__(self, store: EmbeddingStore | None, image_size: int = 8, delay: float = 0.0):
        backbone = SimpleNamespace(
            projection_dim=DIM, weights=[], get_config=dict, compute_dtype="float32"
        )
        converter = SimpleNamespace(
            image_size=(image_size, image_size),
            scale=1 / 255,
            offset=None,
            interpolation="bilinear",
            crop_to_aspect_ratio=True,
            pad_to_aspect_ratio=False,
        )
        super().__init__(CLIPModel(backbone, None, converter), BATCH_SIZE, store=store)
        self.delay = delay
        self.computed = 0

    def embed_pixels(self, pixels: Any) -> Any:
        time.sleep(self.delay)
        self.computed += len(pixels)
        values = pixels.reshape(len(pixels), -1)[:, :DIM].astype("float32")
        values += 0.01 * values.mean(axis=0)
        return values / np.linalg.norm(values, axis=1, keepdims=True)


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Writes tiny pictures, and some of them twice."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    paths = [folder / f"{number:03d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        if number % 9 == 8:
            path.write_bytes(paths[number - 5].read_bytes())
        else:
            Image.fromarray(rng.integers(1, 256, (8, 8, 3), "uint8")).save(path)
    return paths


def fill(
    folder: Path,
    paths: list[Path],
    *,
    delay: float = 0.0,
    seconds: float = 5.0,
    kill_at: int | None = None,
    output: Path | None = None,
    start: Any = None,
) -> StubEmbedder:
    """Embeds pictures into a store.

    Args:
        folder: The store.
        paths: The pictures.
        delay: Seconds that a batch takes.
        seconds: Seconds between commits.
        kill_at: The number of the system call at which the process is killed. Counts the calls
            that make a file durable.
        output: File for the embeddings.
        start: A barrier at which the process waits before it starts.
    """
    embedding_buffer._SECONDS = seconds
    embedder = StubEmbedder(EmbeddingStore(folder, shard_size=SHARD_SIZE), delay=delay)
    if start is not None:
        start.wait()
    with counted_calls(lambda number: number == kill_at and os.kill(os.getpid(), signal.SIGKILL)):
        embeddings = embedder.embed(paths).embeddings
    if output is not None:
        np.save(output, embeddings)
    return embedder


@contextlib.contextmanager
def counted_calls(before: Any) -> Any:
    """Calls `before` with its number before each system call that makes a file durable."""
    count = 0
    originals = os.fsync, os.replace

    def counted(call: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            before(count)
            count += 1
            return call(*args, **kwargs)

        return wrapper

    os.fsync, os.replace = map(counted, originals)
    try:
        yield
    finally:
        os.fsync, os.replace = originals


def start_filling(*args: Any, **kwargs: Any) -> Any:
    """Starts a process that runs `fill`."""
    process = context.Process(target=fill, args=args, kwargs=kwargs)
    process.start()
    return process


def files_of(folder: Path) -> dict[str, bytes]:
    """Returns all files in a folder, with their content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def generated_images(count: int, size: int) -> Any:
    """Yields different images, and keeps none of them."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), "uint8")
    for number in range(count):
        image = noise.copy()
        image[0, :4, 0] = np.frombuffer(number.to_bytes(4, "little"), "uint8")
        yield image


def send_peak(pipe: Any, count: int, folder: Path | None, size: int = 64) -> None:
    """Sends the peak memory of embedding images, in bytes."""
    from benchmarks.memory import peak_memory_mib

    store = None if folder is None else EmbeddingStore(folder)
    embedder = StubEmbedder(store, image_size=size)
    before = peak_memory_mib()
    rows = embedder.embed(generated_images(count, size)).rows
    assert len(rows) == count
    pipe.send((peak_memory_mib() - before) * (1 << 20))
