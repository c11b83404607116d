"""Image files and their classes."""

import csv
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

import numpy as np
import numpy.typing as npt

from keras_cmm.errors import InputError

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True, eq=False)
class ImageList:
    """Labelled image files, from a folder or a CSV file. The images themselves are not opened.

    Args:
        paths: One file an image.
        labels: `(images,)` int32 class ids, indices into `class_names`.
        class_names: One name a class.
        root: The folder that `keys()` are relative to.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        ...         file = Path(folder, name)
        ...         file.parent.mkdir(exist_ok=True)
        ...         file.touch()
        ...     images = ImageList.from_folder(folder)
        >>> images.class_names, images.labels.tolist()
        (('cat', 'dog'), [0, 0, 1])
        >>> images.take([0, 2]).keys()
        ['cat/1.png', 'dog/1.png']
    """

    paths: tuple[Path, ...]
    labels: npt.NDArray[np.int32]
    class_names: tuple[str, ...]
    root: Path

    def __len__(self) -> int:
        return len(self.paths)

    @classmethod
    def from_folder(cls, root: str | Path, class_names: Sequence[str] | None = None) -> Self:
        """Lists the images of a folder that has one sub-folder for each class.

        Images are found at any depth inside a class folder, by suffix (.jpg .jpeg .png .bmp .webp
        .gif .tif .tiff, in any case). Hidden files and folders and other files are ignored. Classes
        and images are sorted by name. A class folder without images is left out with a warning.

        Args:
            root: The folder.
            class_names: Names and order of the classes of a trained model; not all of them need a
                folder. Defaults to the names of the sub-folders.

        Returns:
            The images, sorted by folder name, then path.

        Raises:
            InputError: If the folder is missing, has no class folders with images, has one class
                only (where `class_names` is not given), or classes that are not in `class_names`.
        """
        root = Path(root)
        if not root.exists():
            raise InputError(f"{root}: no such folder.")
        if not root.is_dir():
            raise InputError(f"{root}: is a file; expected a folder with one sub-folder a class.")
        try:
            folders, files = _visible(root)
            found = {folder.name: _images(folder, root) for folder in folders}
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read ({error.strerror}).") from error
        empty = [name for name, images in found.items() if not images]
        if len(empty) == len(found):
            loose = any(_is_image(file) for file in files)
            what = "images lie directly in it" if loose else "there are no images in it"
            raise InputError(f"{root}: {what}; each class needs its own sub-folder of images.")
        if empty:
            warnings.warn(
                f"{root}: class folders without images are left out: {_listed(empty)}.",
                stacklevel=2,
            )
        rows = [(path, name) for name, images in found.items() for path in images]
        return cls._from_rows(root, rows, class_names, source=root)

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        root: str | Path | None = None,
        class_names: Sequence[str] | None = None,
    ) -> Self:
        r"""Lists the images named in a CSV file with the columns `path` and `label`.

        Args:
            path: The file, comma-separated UTF-8 with a header line. Labels are class names; white
                space around them is dropped.
            root: The folder that relative paths start from. Defaults to the CSV file's folder.
            class_names: Names and order of the classes of a trained model; not all of them need an
                image. Defaults to the labels, sorted.

        Returns:
            The images in the order of the file.

        Raises:
            InputError: If the file cannot be read, has other columns, a missing value or a missing
                image file, one class only (where `class_names` is not given), or labels that are
                not in `class_names`.

        Example:
            >>> import tempfile
            >>> from pathlib import Path
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     for name in ("1.png", "2.png"):
            ...         Path(folder, name).touch()
            ...     table = Path(folder, "labels.csv")
            ...     _ = table.write_text("path,label\n1.png,dog\n2.png,cat\n")
            ...     images = ImageList.from_csv(table)
            >>> images.class_names, images.labels.tolist()
            (('cat', 'dog'), [1, 0])
        """
        path = Path(path)
        root = path.parent if root is None else Path(root)
        try:
            # utf-8-sig also reads UTF-8 without a byte order mark.
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = list(_csv_rows(path, root, file))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
        except UnicodeDecodeError:
            raise InputError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8.") from None
        except csv.Error as error:
            raise InputError(f"{path}: is not a valid CSV file ({error}).") from None
        if not rows:
            raise InputError(f"{path}: lists no images; expected one line for each image.")
        return cls._from_rows(root, rows, class_names, source=path)

    def keys(self) -> list[str]:
        """Identities of the images for `sample_few_shot`.

        Returns:
            The paths relative to `root`, with forward slashes on every platform; a path outside
            `root` is given in full.
        """
        return [
            (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()
            for path in self.paths
        ]

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Self:
        """Selects images, all classes kept.

        Args:
            indices: `(rows,)` image numbers, such as `FewShotSample.indices`.

        Returns:
            The images in the order of `indices`.
        """
        rows = np.arange(len(self))[indices]
        paths = tuple(self.paths[row] for row in rows)
        return type(self)(paths, self.labels[rows], self.class_names, self.root)

    @classmethod
    def _from_rows(
        cls,
        root: Path,
        rows: Sequence[tuple[Path, str]],
        class_names: Sequence[str] | None,
        source: Path,
    ) -> Self:
        found = {name for _, name in rows}
        if class_names is None:
            if len(found) < 2:
                raise InputError(
                    f"{source}: has one class only, {_listed(found)}; expected 2 classes or more."
                )
            names = tuple(sorted(found))
        else:
            names = tuple(class_names)
            if len(set(names)) != len(names):
                raise InputError("`class_names` has the same name twice; names must differ.")
            unknown = found.difference(names)
            if unknown:
                raise InputError(
                    f"{source}: has classes that are not among the {len(names)} known ones: "
                    f"{_listed(sorted(unknown))}; rename or remove them (known: {_listed(names)})."
                )
        ids = {name: index for index, name in enumerate(names)}
        labels = np.array([ids[name] for _, name in rows], dtype=np.int32)
        return cls(tuple(path for path, _ in rows), labels, names, root)


def _visible(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the sub-folders and the other entries that are not hidden, each sorted by name."""
    folders: list[Path] = []
    others: list[Path] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not entry.name.startswith("."):
            (folders if entry.is_dir() else others).append(entry)
    return folders, others


def _images(folder: Path, root: Path) -> list[Path]:
    """Finds the images of one class, following links but entering no real folder twice."""
    images: list[Path] = []
    seen = {root.resolve()}
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        real = current.resolve()
        if real in seen:
            continue
        seen.add(real)
        folders, files = _visible(current)
        images += [file for file in files if _is_image(file)]
        waiting += reversed(folders)
    return sorted(images, key=lambda image: image.as_posix())


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def _csv_rows(path: Path, root: Path, file: TextIO) -> Iterator[tuple[Path, str]]:
    lines = csv.reader(file, strict=True)
    header = next(lines, [])
    if sorted(header) != ["label", "path"]:
        raise InputError(
            f"{path}: has the columns {_listed(header) or '(none)'}; expected exactly path,label."
        )
    for values in lines:
        if not values:
            continue
        line = f"{path}, line {lines.line_num}"
        if len(values) != 2:
            raise InputError(f"{line}: has {len(values)} values; expected a path and a label.")
        row = dict(zip(header, values, strict=True))
        name, label = row["path"], row["label"].strip()
        if not name or not label:
            raise InputError(f"{line}: has an empty path or label; fill it in or remove the line.")
        if not _is_file(root / name):
            raise InputError(f"{line}: there is no image file {name!r} in {root}.")
        yield root / name, label


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(name) for name in names[:5]) + more
