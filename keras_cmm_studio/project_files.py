"""The files of a project's images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import replacing_durably
from keras_cmm_studio.project_state import IMAGES, NAME, UNLABELLED

REMOVED = "removed"
"""The folder of images that were removed, for undo."""


class ProjectFiles:
    """The files of a project's images. Each has a name of its content, and one place.

    The record of the project says which place that is. A file is looked for by its name, so it is
    found wherever a killed process has left it.

    Args:
        folder: The folder of the project.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, place: str, data: bytes) -> None:
        """Writes a file so that it survives a loss of power.

        Args:
            name: Its name.
            place: Its folder, below that of the project.
            data: Its content.

        Raises:
            OSError: If it cannot be written.
        """
        folder = self.folder / place
        folder.mkdir(parents=True, exist_ok=True)
        with replacing_durably(folder / name) as file:
            file.write(data)

    def arrange(self, places: Mapping[str, str]) -> set[str]:
        """Puts all files in their places; those without one are kept in `removed`.

        Args:
            places: By name the folder of each file, below that of the project.

        Returns:
            The names of files that are nowhere.
        """
        found: dict[str, Path] = {}
        for path in self._all():
            name = path.name
            # Of two copies, that which is in its place stays.
            if name not in found or path.parent == self.folder / places.get(name, REMOVED):
                found[name] = path
        for name, path in found.items():
            self._move(path, self.folder / places.get(name, REMOVED))
        self._remove_empty_folders()
        return places.keys() - found.keys()

    def move(self, moves: Mapping[str, tuple[str, str]]) -> None:
        """Moves files.

        Args:
            moves: By name the old and the new folder of each file, below that of the project.
        """
        for name, (old, new) in moves.items():
            path = self.folder / old / name
            if path.is_file():
                self._move(path, self.folder / new)
        self._remove_empty_folders()

    def read(self, name: str, place: str) -> bytes:
        """Returns the content of a file.

        Raises:
            InputError: If it is missing or cannot be read.
        """
        try:
            return (self.folder / place / name).read_bytes()
        except OSError as error:
            raise InputError(
                f"the file of the image cannot be read ({error.strerror or error}); remove it."
            ) from error

    def forget(self, names: Iterable[str]) -> None:
        """Deletes removed files that no step of the journal needs any more."""
        for name in names:
            with contextlib.suppress(OSError):
                (self.folder / REMOVED / name).unlink(missing_ok=True)

    def _all(self) -> Iterator[Path]:
        folders = [self.folder / REMOVED, self.folder / UNLABELLED]
        images = self.folder / IMAGES
        if images.is_dir():
            folders += sorted(path for path in images.iterdir() if path.is_dir())
        for folder in folders:
            if folder.is_dir() and not folder.is_symlink():
                yield from sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))

    def _move(self, path: Path, folder: Path) -> None:
        if path.parent != folder:
            folder.mkdir(parents=True, exist_ok=True)
            path.replace(folder / path.name)

    def _remove_empty_folders(self) -> None:
        images = self.folder / IMAGES
        if images.is_dir():
            for folder in images.iterdir():
                # Not empty, or no folder.
                with contextlib.suppress(OSError):
                    folder.rmdir()
