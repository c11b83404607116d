"""The part of an embedding store for one model and one way of preprocessing."""

from __future__ import annotations

import errno
import json
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import TEMPORARY_FILES, refuse_special_file, replacing_durably

FORMAT = "keras-cmm-embedding-store/2"
"""The format of the files. If images are read or embedded in another way, its number must grow."""

# Its checksums left out the keys, so exchanged rows were not told. Its folders have other names.
_OLD_FORMAT = "keras-cmm-embedding-store/1"

KEY_BYTES = 16
# numpy sorts and searches these as bytes. It ignores NULs at the end, which is harmless for keys of
# equal length.
KEY_TYPE = np.dtype(f"S{KEY_BYTES}")

Keys = npt.NDArray[np.bytes_]


@dataclass(eq=False)
class EmbeddingSpace:
    """A growing table of keys and embeddings, in files (shards) of `shard_size` rows.

    Rows are only added at the end. The manifest, which is written last, holds their number. Rows
    beyond that number, which a killed process has left, are written again with the same content.
    The files therefore depend only on the order of the rows.

    Only `refresh` and `append` change the object. `find` may run in other threads at the same time.

    Args:
        folder: The folder of the table.
        description: All that the embeddings depend on, except the image.
        dim: Length of an embedding.
        shard_size: Number of rows in a file of a new table.
        lock: Makes the context in which this process may write.
    """

    folder: Path
    description: dict[str, Any]
    dim: int
    shard_size: int
    lock: Callable[[], AbstractContextManager[None]]

    def __post_init__(self) -> None:
        self._is_read_only = False
        self._forget()

    def refresh(self) -> None:
        """Reads what other processes have written.

        Raises:
            InputError: If the files are damaged or cannot be read.
        """
        manifest = read_manifest(self.folder)
        if manifest is None:
            self._forget()
            return
        if manifest["rows"] < self._rows or manifest["shard_size"] != self.shard_size:
            self._forget()  # the table was emptied
        self.shard_size = manifest["shard_size"]
        first, rows = self._rows, manifest["rows"]
        new = []
        for shard, start, stop in self._shards(first, rows):
            with self._open(shard) as file:
                keys = file.get_slice("keys")[start:stop]
            if len(keys) != stop - start:
                raise damaged(self._path(shard), "it has fewer rows than the manifest says")
            new.append(np.frombuffer(keys.tobytes(), KEY_TYPE))
        if new:
            self._add(np.concatenate(new))

    def __contains__(self, key: bytes) -> bool:
        return bool(self.find(np.frombuffer(key, KEY_TYPE))[0] >= 0)

    def find(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Returns the row of each key, or -1 for a key that is not in the table."""
        known, rows = self._index
        if not len(known):
            return np.full(len(keys), -1, dtype="int64")
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        return np.where(known[places] == keys, rows[places], -1)

    def read(self, keys: Keys, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Reads embeddings.

        Args:
            keys: The keys.
            rows: The row of each key, as `find` returns them.

        Returns:
            float32 array of shape `(rows, dim)`.

        Raises:
            InputError: If the files are damaged, have changed since `find`, or cannot be read.
        """
        embeddings = np.empty((len(rows), self.dim), dtype="float32")
        shards = rows // self.shard_size
        for shard in np.unique(shards).tolist():
            places = np.flatnonzero(shards == shard)
            wanted = rows[places] - shard * self.shard_size
            first, last = int(wanted.min()), int(wanted.max())
            with self._open(shard) as file:
                stored, sums, values = (
                    file.get_slice(name)[first : last + 1][wanted - first]
                    for name in ("keys", "checksums", "embeddings")
                )
            if stored.tobytes() != keys[places].tobytes():
                raise self.emptied()
            if values.shape[1:] != (self.dim,):
                raise damaged(self._path(shard), f"its rows have not {self.dim} numbers")
            if not np.array_equal(sums, _checksums(keys[places], values)):
                raise damaged(self._path(shard), "its checksums do not fit its values")
            embeddings[places] = values
        return embeddings

    def append(self, keys: Keys, embeddings: npt.NDArray[np.float32]) -> None:
        """Adds the embeddings that the table does not have.

        If the folder is read-only, it adds nothing and warns once.

        Args:
            keys: `(n,)` different keys.
            embeddings: `(n, dim)`.

        Raises:
            InputError: If writing fails, for instance because the disk is full. Nothing that was
                written before is lost.
        """
        if self._is_read_only:
            return
        try:
            with self.lock():
                self.folder.mkdir(exist_ok=True)
                self.refresh()
                new = self.find(keys) < 0
                # Only the holder of the lock writes, so killed processes have left these files.
                for path in self.folder.glob(TEMPORARY_FILES):
                    path.unlink(missing_ok=True)
                self._write(keys[new], embeddings[new])
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise write_error(self.folder, error) from error
            self._is_read_only = True
            warnings.warn(
                f"{self.folder}: cannot be written ({error.strerror}), so new embeddings are not "
                "kept.",
                stacklevel=2,
            )

    def emptied(self) -> InputError:
        """Returns the error for a table whose rows have changed since `find`."""
        return InputError(f"{self.folder}: was emptied while it was in use; run again.")

    def _write(self, keys: Keys, embeddings: npt.NDArray[np.float32]) -> None:
        if not len(keys):
            return
        first, rows = self._rows, self._rows + len(keys)
        table = {
            "keys": np.frombuffer(keys.tobytes(), "uint8").reshape(-1, KEY_BYTES),
            "checksums": _checksums(keys, embeddings),
            "embeddings": embeddings,
        }
        for shard, start, stop in self._shards(first, rows):
            offset = shard * self.shard_size - first
            added = {name: part[start + offset : stop + offset] for name, part in table.items()}
            if start:
                with self._open(shard) as file:
                    added = {
                        name: np.concatenate([file.get_slice(name)[:start], part])
                        for name, part in added.items()
                    }
            with replacing_durably(self._path(shard)) as output:
                output.write(save(added, metadata={"format": FORMAT}))
        manifest = {
            "format": FORMAT,
            "space": self.description,
            "dim": self.dim,
            "shard_size": self.shard_size,
            "rows": rows,
        }
        with replacing_durably(self.folder / "manifest.json") as output:
            output.write(json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")
        self._add(keys)

    def _shards(self, first: int, rows: int) -> Iterator[tuple[int, int, int]]:
        """Yields the shards of the rows from `first` to `rows`: number, first row, last row + 1."""
        if first == rows:
            return
        size = self.shard_size
        for shard in range(first // size, -(-rows // size)):
            start = shard * size
            yield shard, max(first - start, 0), min(rows - start, size)

    def _forget(self) -> None:
        self._rows = 0
        # One attribute for both, so that other threads never see new keys with old rows.
        self._index = (np.empty(0, KEY_TYPE), np.empty(0, "int64"))

    def _add(self, keys: Keys) -> None:
        """Adds the keys of the next rows to the index, which takes 24 bytes for each image."""
        known, rows = self._index
        order = np.argsort(keys)
        places = np.searchsorted(known, keys[order])
        self._index = (
            np.insert(known, places, keys[order]),
            np.insert(rows, places, self._rows + order),
        )
        self._rows += len(keys)

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.safetensors"

    @contextmanager
    def _open(self, shard: int) -> Iterator[Any]:
        refuse_special_file(self._path(shard))
        try:
            with safe_open(self._path(shard), framework="numpy") as file:
                yield file
        except FileNotFoundError:
            raise damaged(self._path(shard), "there is no such file") from None
        except SafetensorError as error:
            raise damaged(self._path(shard), str(error)) from error
        except OSError as error:
            raise InputError(f"{self._path(shard)}: cannot be read ({error}).") from error


def damaged(path: Path, reason: str) -> InputError:
    """Returns the error for a damaged file of a store."""
    return InputError(
        f"{path}: is damaged ({reason}); remove the folder {path.parent}, and its images will be "
        "embedded again."
    )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Reads the manifest of a folder in a store.

    Returns:
        The manifest, or `None` if there is none, or one of version 0.1.0, whose embeddings are not
        used again.

    Raises:
        InputError: If it is damaged or cannot be read.
    """
    path = folder / "manifest.json"
    refuse_special_file(path)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (ValueError, RecursionError):
        raise damaged(path, "it is not JSON") from None
    if isinstance(manifest, dict) and manifest.get("format") == _OLD_FORMAT:
        return None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise damaged(path, f"its format is not {FORMAT}")
    for name, least in (("dim", 1), ("rows", 0), ("shard_size", 1)):
        if type(manifest.get(name)) is not int or manifest[name] < least:
            raise damaged(path, f"`{name}` is not an int >= {least}")
    if not isinstance(manifest.get("space"), dict):
        raise damaged(path, "`space` is missing")
    return manifest


def write_error(path: Path, error: OSError) -> InputError:
    """Returns the error for a store that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(
            f"{path}: there is no space left on the disk; free some and run again (all that is "
            "written is kept)."
        )
    return InputError(f"{path}: cannot be written ({error.strerror or error}).")


def _checksums(keys: Keys, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    rows = np.frombuffer(keys.tobytes(), "uint8").reshape(-1, KEY_BYTES)
    pairs = zip(rows, embeddings, strict=True)
    sums = [zlib.crc32(row.tobytes(), zlib.crc32(key.tobytes())) for key, row in pairs]
    return np.array(sums, dtype="uint32")
