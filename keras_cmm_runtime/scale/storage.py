"""Files in a folder, on this machine or in an object store."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import replacing_durably

# What fsspec needs for a kind of URI, as its package on PyPI.
_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "az"), "adlfs"),
    "hf": "huggingface_hub",
}
# A put of these is there as a whole or not at all.
_WHOLE_PUTS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "hf", "memory"}


_T = TypeVar("_T")


class Storage:
    """A folder that fsspec opens: a path, or a URI such as `s3://bucket/folder`.

    It can be sent to other processes, and opens its file system there anew.

    Args:
        uri: the folder or file.
        options: arguments of fsspec's file system, such as `{"anon": True}`.

    Raises:
        InputError: If fsspec or what it needs for the URI is not installed, or it knows no such
            kind of URI.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     storage = Storage(folder)
        ...     storage.write("a/b.txt", b"...")
        ...     storage.exists("a/b.txt"), storage.read("a/b.txt"), storage.exists("c")
        (True, b'...', False)
    """

    def __init__(self, uri: str, options: Mapping[str, Any] | None = None) -> None:
        self.uri = uri
        self.options = dict(options or {})
        self._fs, self._root = _opened(uri, self.options)

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.place, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def place(self) -> str:
        """The URI, or the whole path, which does not depend on the current folder."""
        kind, mark, place = self.uri.partition("://")
        return f"{kind}://{place.rstrip('/')}" if mark else self._root

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine, or in what is mounted there."""
        return "file" in self._protocols

    @property
    def _protocols(self) -> set[str]:
        protocol = self._fs.protocol
        return {protocol} if isinstance(protocol, str) else set(protocol)

    def path(self, name: str = "") -> str:
        """Returns the path of a file for fsspec's file system."""
        return posixpath.join(self._root, name) if name else str(self._root)

    def exists(self, name: str = "") -> bool:
        """Returns whether a file or folder is there."""
        try:
            return bool(_asked(self._fs.exists, self.path(name)))
        except FileNotFoundError:
            return False

    def is_folder(self, name: str = "") -> bool:
        """Returns whether it is a folder."""
        try:
            return bool(_asked(self._fs.isdir, self.path(name)))
        except FileNotFoundError:
            return False

    def open(self, name: str = "") -> Any:
        """Opens a file for reading, which need not begin at its start."""
        return _asked(self._fs.open, self.path(name), "rb")

    def read(self, name: str = "") -> bytes:
        """Returns the bytes of a file."""
        return bytes(_asked(self._fs.cat_file, self.path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, whole or not at all; one that is there is replaced."""
        path = self.path(name)
        if self.is_local:
            local = Path(path)
            local.parent.mkdir(parents=True, exist_ok=True)
            with replacing_durably(local) as file:
                file.write(data)
        elif self._protocols & _WHOLE_PUTS:
            _asked(self._fs.pipe_file, path, data)
        else:
            _asked(self._fs.makedirs, posixpath.dirname(path), exist_ok=True)
            temporary = f"{path}.tmp"
            _asked(self._fs.pipe_file, temporary, data)
            _asked(self._fs.mv, temporary, path)

    def entries(self, name: str = "") -> tuple[list[str], list[str]]:
        """Returns the names of the folders and of the files in a folder, each sorted."""
        path = self.path(name)
        folders: list[str] = []
        files: list[str] = []
        if self.is_local:
            # fsspec takes a link to a folder for a file.
            with os.scandir(path) as entries:
                for each in entries:
                    (folders if each.is_dir() else files).append(each.name)
            return sorted(folders), sorted(files)
        # What a library has kept of an earlier listing may be out of date.
        self._fs.invalidate_cache(path)
        for entry in _asked(self._fs.ls, path, detail=True):
            last = entry["name"].rstrip("/").rpartition("/")[2]
            # Object stores list the folder itself where someone has made it by hand.
            if entry["name"].rstrip("/") == path.rstrip("/"):
                continue
            (folders if entry["type"] == "directory" else files).append(last)
        return sorted(folders), sorted(files)

    def walk(self, name: str = "") -> Iterator[tuple[str, list[str]]]:
        """Yields each folder below, with the names of its files; a folder at a time is listed.

        Links to folders are followed, but not to one that they lie in.
        """
        yield from self._walk(name, frozenset())

    def _walk(self, name: str, above: frozenset[str]) -> Iterator[tuple[str, list[str]]]:
        place = os.path.realpath(self.path(name)) if self.is_local else name
        if place in above:
            return
        folders, files = self.entries(name)
        if files:
            yield name, files
        for folder in folders:
            yield from self._walk(f"{name}/{folder}".removeprefix("/"), above | {place})


def _opened(uri: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise InputError(f"{uri}: needs fsspec; run `pip install 'keras-cmm[scale]'`.") from error
    kind, is_uri, _ = uri.partition("://")
    try:
        if not is_uri:
            # fsspec would take a name with two colons for several file systems.
            return fsspec.filesystem("file", **options), Path(uri).absolute().as_posix()
        fs, root = fsspec.core.url_to_fs(uri, **options)
    except ImportError as error:
        needs = f"needs {_PACKAGES[kind]}; install it with pip." if kind in _PACKAGES else error
        raise InputError(f"{uri}: {needs}") from error
    except Exception as error:  # Each library raises errors of its own.
        raise InputError(f"{uri}: cannot be opened ({_first_line(error)}).") from error
    return fs, str(root)


def _asked(ask: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """Calls a method of a file system. What goes wrong is an `OSError`, as it is for files."""
    try:
        return ask(*args, **options)
    except OSError:
        raise
    except (ValueError, NotImplementedError) as error:  # It can have no such path.
        raise FileNotFoundError(_first_line(error)) from error
    except Exception as error:  # Each library raises errors of its own.
        raise OSError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
