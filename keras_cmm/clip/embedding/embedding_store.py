"""Image embeddings on disk."""

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

from keras_cmm.clip.embedding.embedding_space import (
    FORMAT,
    EmbeddingSpace,
    read_manifest,
    write_error,
)
from keras_cmm.errors import InputError
from keras_cmm.utils.files import TEMPORARY_FILES

_NAME = re.compile("[0-9a-f]{32}")


class EmbeddingStore:
    """A folder of image embeddings, so that no image is embedded twice by the same model.

    An embedding is found by the content of its image, the preprocessing, the model's architecture
    and weights, the precision and the Keras backend, never by a name: a changed file or model is
    embedded anew. A process may be killed at any moment and the disk may fill up; what was written
    before stays, and a second run computes the rest, with the bytes that one uninterrupted run
    would have given. Several processes may use a store at once. A folder that may not be written
    is read.

    Each model has a folder of its own in the store, with a manifest and safetensors files (shards)
    that hold the keys of the images (128 bits of a SHA-256), a checksum of each row, and the
    embeddings.

    Args:
        folder: the folder. It is made when the first embeddings are written.
        shard_size: int. Images a file. A folder that has embeddings already keeps its own.

    Raises:
        ValueError: if `shard_size` is not an int >= 1.

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
        """How many embeddings were found in the store so far instead of being computed."""
        self._spaces: dict[str, EmbeddingSpace] = {}

    def space(self, description: Mapping[str, Any], dim: int) -> EmbeddingSpace:
        """Opens the part of the store that belongs to one way of embedding images.

        Args:
            description: all that an embedding depends on besides the image, as JSON values.
            dim: int. Length of an embedding.

        Returns:
            The part, with all that any process has written so far.

        Raises:
            InputError: If it is damaged or cannot be read.
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
            For each model the manifest's `space` (what the embeddings depend on), `dim` and `rows`,
            and `bytes`, the size of the files.

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
        """Removes all embeddings from the store, and nothing else that may lie in its folder.

        Raises:
            InputError: If a file cannot be removed.
        """
        folders = self._folders()
        if not folders:
            return
        try:
            with self._lock():
                for folder in folders:
                    # First, so that there are never fewer rows than the manifest says.
                    (folder / "manifest.json").unlink(missing_ok=True)
                    for pattern in ("*.safetensors", TEMPORARY_FILES):
                        for path in folder.glob(pattern):
                            path.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):  # something else lies in it
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
        # The system frees it when a process dies, however that happens.
        with FileLock(self.folder / ".lock", timeout=60):
            yield
