"""A store of image embeddings on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from keras_cmm_runtime.embeddings.embedding_space import (
    FORMAT,
    EmbeddingSpace,
    read_manifest,
    write_error,
)
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import TEMPORARY_FILES

_NAME = re.compile("[0-9a-f]{32}")


class EmbeddingStore:
    """A folder of image embeddings, so that a model embeds each image only once.

    The store finds an embedding by the content of its image, the preprocessing, the architecture
    and weights of the model, the precision and the Keras backend. Names play no part, so the images
    of a changed file or model are embedded again.

    If a process is killed or the disk is full, all that was written stays. A second run computes
    the rest, and gives the same bytes as one uninterrupted run. Several processes may use a store
    at the same time. A read-only store is read.

    Each model has a folder in the store, with a manifest and safetensors files (shards). They hold
    the keys of the images (128 bits of a SHA-256), a checksum of each row, and the embeddings.

    Args:
        folder: the folder. It is made when the first embeddings are written.
        shard_size: int. Number of images in a file. A folder with embeddings keeps its own.

    Raises:
        ValueError: If `shard_size` is not an int >= 1.

    Example:
        >>> from keras_cmm import clip
        >>> store = clip.EmbeddingStore("embeddings")
        >>> embedder = clip.ImageEmbedder(  # doctest: +SKIP
        ...     clip.load("clip_vit_base_patch16"), store=store
        ... )
        >>> _ = embedder.embed(["cat.jpg", "dog.png"])  # doctest: +SKIP
        >>> _ = embedder.embed(["cat.jpg", "cow.png"])  # doctest: +SKIP
        >>> store.taken  # doctest: +SKIP
        1
    """

    def __init__(self, folder: str | os.PathLike[str], shard_size: int = 1024) -> None:
        if not isinstance(shard_size, int) or shard_size < 1:
            raise ValueError(f"`shard_size` must be an int >= 1. Received: {shard_size=}")
        self.folder = Path(folder)
        self.shard_size = shard_size
        self.taken = 0
        """Number of embeddings that were found in the store and did not have to be computed."""
        self._spaces: dict[str, EmbeddingSpace] = {}

    def space(self, description: Mapping[str, Any], dim: int) -> EmbeddingSpace:
        """Opens the part of the store for one way of embedding images.

        Args:
            description: all that an embedding depends on, except the image, as JSON values.
            dim: int. Length of an embedding.

        Returns:
            The part, with all that processes have written until now.

        Raises:
            InputError: If the part is damaged or cannot be read.
        """
        content = json.dumps([FORMAT, description, dim], sort_keys=True)
        name = hashlib.sha256(content.encode()).hexdigest()[:32]
        if name not in self._spaces:
            self._spaces[name] = EmbeddingSpace(
                self.folder / name, dict(description), dim, self.shard_size, self._lock
            )
        self._spaces[name].refresh()
        return self._spaces[name]

    def contents(self) -> list[dict[str, Any]]:
        """Lists what the store holds.

        Returns:
            For each model a dict with `space`, all that its embeddings depend on, `dim` and `rows`,
            the shape of its embeddings, and `bytes`, the size of its files.

        Raises:
            InputError: If a manifest is damaged or cannot be read.
        """
        listed = []
        for folder in self._folders():
            manifest = read_manifest(folder)
            if manifest is not None:
                size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
                parts = {name: manifest[name] for name in ("space", "dim", "rows")}
                listed.append(parts | {"bytes": size})
        return listed

    def clear(self) -> None:
        """Removes all embeddings from the store. Other files in its folder stay.

        Raises:
            InputError: If a file cannot be removed.
        """
        folders = self._folders()
        if not folders:
            return
        try:
            with self._lock():
                for folder in folders:
                    # First the manifest, so that it never promises rows that are gone.
                    (folder / "manifest.json").unlink(missing_ok=True)
                    for pattern in ("*.safetensors", TEMPORARY_FILES):
                        for path in folder.glob(pattern):
                            path.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):  # it holds other files
                        folder.rmdir()
        except OSError as error:
            raise write_error(self.folder, error) from error

    def _folders(self) -> list[Path]:
        """Lists the folders of the models."""
        try:
            inside = sorted(self.folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self.folder}: cannot be read ({reason}).") from error
        return [path for path in inside if _NAME.fullmatch(path.name) and path.is_dir()]

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Keeps other processes from writing to any part of the store."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # The system frees the lock when a process ends, even if it is killed.
        with FileLock(self.folder / ".lock", timeout=60):
            yield
