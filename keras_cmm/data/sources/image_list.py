"""Image files and their classes."""

import csv
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TextIO

import numpy as np
import numpy.typing as npt

from keras_cmm.data.sources.class_names import number_classes, renumber_classes
from keras_cmm.data.sources.coop_split import read_coop_split
from keras_cmm.data.sources.folders import (
    image_files,
    told_apart,
    visible_entries,
    warn_of_other_images,
)
from keras_cmm.errors import InputError
from keras_cmm.utils.listed import listed

_COLUMNS = ("path", "label")


@dataclass(frozen=True, eq=False)
class ImageList:
    """Labelled image files: a folder, a CSV or Parquet list or a split file of CoOp.

    It is an `ImageSource`. The images themselves are not opened.

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

    def __iter__(self) -> Iterator[tuple[str, Path, int]]:
        return zip(self.keys(), self.paths, self.labels.tolist(), strict=True)

    @property
    def images(self) -> tuple[Path, ...]:
        """The images to read: `paths`."""
        return self.paths

    @classmethod
    def from_folder(cls, root: str | Path, class_names: Sequence[str] | None = None) -> Self:
        """Lists the images of a folder that has one sub-folder for each class.

        Images are found at any depth inside a class folder, by suffix (.jpg .jpeg .jpe .jfif .png
        .bmp .webp .gif .tif .tiff .ppm .pgm .pbm .pnm .avif, in any case). Images of formats that
        are not read, such as .heic, images without a suffix and those directly in `root` are left
        out with a warning. Hidden files and folders and other files are ignored; what only has the
        name of an image, such as a link to nothing, is listed, for whoever reads it to report.
        Classes and images are sorted by name. A class folder without images is warned of, and left
        out unless `class_names` has it.

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
        folders, files = visible_entries(root)
        found: dict[str, list[Path]] = {}
        others: list[Path] = []
        for folder in folders:
            found[folder.name], unread = image_files(folder, outside=[root])
            others += unread
        warn_of_other_images(others)
        loose = list(itertools.chain(*told_apart(files)))
        empty = [name for name, images in found.items() if not images]
        if len(empty) == len(found):
            what = "images lie directly in it" if loose else "there are no images in it"
            raise InputError(f"{root}: {what}; each class needs its own sub-folder of images.")
        if loose:
            warnings.warn(
                f"{loose[0]}: left out, with all images directly in {root} ({len(loose)}); move "
                "them into the folders of their classes.",
                stacklevel=2,
            )
        if empty:
            left_out = " are left out" if class_names is None else ""
            warnings.warn(
                f"{root}: class folders without images{left_out}: {listed(empty)}.", stacklevel=2
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

        Other columns are ignored with a warning. An image that is listed again under the same label
        counts once, with a warning.

        Args:
            path: The file, UTF-8 with a header line whose names may be in any case, separated by
                commas, semicolons or tabs. Labels are class names; white space around them is
                dropped.
            root: The folder that relative paths start from. Defaults to the CSV file's folder.
            class_names: Names and order of the classes of a trained model; not all of them need an
                image. Defaults to the labels, sorted.

        Returns:
            The images in the order of the file.

        Raises:
            InputError: If the file cannot be read, has not these columns, a missing value or a
                missing image file, an image under two labels, one class only (where `class_names`
                is not given), or labels that are not in `class_names`.

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
        return cls._from_rows(root, _without_repeats(path, rows), class_names, source=path)

    @classmethod
    def from_parquet(
        cls,
        path: str | Path,
        root: str | Path | None = None,
        class_names: Sequence[str] | None = None,
    ) -> Self:
        """Lists the images named in a Parquet file with the columns `path` and `label`.

        Columns and repeated images are treated as `from_csv` does. A Parquet file that holds the
        images themselves is read by `HFSource.from_parquet`.

        Args:
            path: The file. Labels are class names, or numbers that are taken as names.
            root: The folder that relative paths start from. Defaults to the Parquet file's folder.
            class_names: Names and order of the classes of a trained model; not all of them need an
                image. Defaults to the labels, sorted.

        Returns:
            The images in the order of the file.

        Raises:
            InputError: As `from_csv` does, and if pyarrow is not installed.
        """
        path = Path(path)
        root = path.parent if root is None else Path(root)
        rows = list(_parquet_rows(path, root))
        if not rows:
            raise InputError(f"{path}: lists no images; expected one row for each image.")
        return cls._from_rows(root, _without_repeats(path, rows), class_names, source=path)

    @classmethod
    def from_coop(
        cls,
        split_file: str | Path,
        root: str | Path,
        split: Literal["train", "val", "test"],
        class_names: Sequence[str] | None = None,
    ) -> Self:
        """Lists one split of a data set that is laid out as CoOp's DATASETS.md says.

        Args:
            split_file: A file such as "split_zhou_OxfordPets.json".
            root: The folder of images that its paths start from, such as "oxford_pets/images".
            split: The split.
            class_names: Names and order of the classes of a trained model. Defaults to the names
                in the file, by their ids there.

        Returns:
            The images in the order of the file.

        Raises:
            InputError: If the file cannot be read as such a file, an image is missing, or a class
                is not in `class_names`.

        Example:
            >>> import json, tempfile
            >>> from pathlib import Path
            >>> rows = [["a.jpg", 0, "cat"], ["b.jpg", 1, "dog"]]
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     for name in ("a.jpg", "b.jpg"):
            ...         Path(folder, name).touch()
            ...     _ = Path(folder, "split.json").write_text(
            ...         json.dumps({"train": rows, "val": [], "test": []})
            ...     )
            ...     images = ImageList.from_coop(f"{folder}/split.json", folder, "train")
            >>> images.class_names, images.keys()
            (('cat', 'dog'), ['a.jpg', 'b.jpg'])

        References:
            https://github.com/KaiyangZhou/CoOp, DATASETS.md.
        """
        root = Path(root)
        if split not in ("train", "val", "test"):
            raise ValueError(f'`split` must be "train", "val" or "test". Received: {split=}')
        names, splits = read_coop_split(split_file)
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; give the one that holds the images.")
        rows = splits[split]
        missing = [name for name, _ in rows if not _is_file(root / name)]
        if missing:
            more = f" and {len(missing) - 1} more of {len(rows)}" if len(missing) > 1 else ""
            raise InputError(
                f"{root / missing[0]}: is listed in {split_file}, but there is no such file{more}; "
                "complete the download, or give the folder that the listed paths start from."
            )
        labels = [label for _, label in rows]
        known, ids = renumber_classes(split_file, labels, names, class_names)
        return cls(tuple(root / name for name, _ in rows), ids, known, root)

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
        names, labels = number_classes(source, [name for _, name in rows], class_names)
        return cls(tuple(path for path, _ in rows), labels, names, root)


def _csv_rows(path: Path, root: Path, file: TextIO) -> Iterator[tuple[Path, str]]:
    first = file.readline()
    separator = max(",;\t", key=first.count)  # the comma where there is none
    # Not by going back to the start, which a pipe cannot.
    lines = csv.reader(itertools.chain([first], file), delimiter=separator, strict=True)
    header = next(lines, [])
    name, label = _find_columns(path, header)
    for values in lines:
        if not values:
            continue
        line = f"{path}, line {lines.line_num}"
        if len(values) != len(header):
            raise InputError(
                f"{line}: has {len(values)} values; expected {len(header)}, as in the header line."
            )
        yield _checked_row(line, root, values[name], values[label])


def is_parquet_list(path: Path) -> bool:
    """Returns whether a Parquet file lists images, rather than holding them.

    Args:
        path: The file.

    Returns:
        Whether it has a column `path`; also where it cannot be read, which `from_parquet` reports.
    """
    try:
        import pyarrow
        from pyarrow.parquet import read_schema
    except ImportError:
        return True
    try:
        return "path" in map(str.lower, read_schema(path).names)
    except (OSError, pyarrow.ArrowException):
        return True


def _parquet_rows(path: Path, root: Path) -> Iterator[tuple[Path, str]]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path}: needs pyarrow to be read; run `pip install 'keras-cmm[parquet]'`."
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            name_column, label_column = _find_columns(path, columns)
            wanted = [columns[name_column], columns[label_column]]
            table = file.read(columns=wanted)
            names, labels = (table.column(column).to_pylist() for column in wanted)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: is not a valid Parquet file ({reason}).") from error
    for number, (name, label) in enumerate(zip(names, labels, strict=True)):
        yield _checked_row(f"{path}, row {number}", root, name, label)


def _find_columns(path: Path, columns: Sequence[str]) -> tuple[int, int]:
    """Returns the numbers of the columns `path` and `label`; warns of others."""
    names = [name.strip().lower() for name in columns]
    if names.count("path") != 1 or names.count("label") != 1:
        raise InputError(
            f"{path}: has the columns {listed(columns) or '(none)'}; expected path "
            "and label once each, with a comma, semicolon or tab between columns."
        )
    others = [column for column, name in zip(columns, names, strict=True) if name not in _COLUMNS]
    if others:
        # One may say which images are for training, and all are taken.
        warnings.warn(
            f"{path}: only path and label are read, of all rows; ignored: {listed(others)}.",
            stacklevel=4,
        )
    return names.index("path"), names.index("label")


def _without_repeats(source: Path, rows: Sequence[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """Drops images that are listed again, which would be drawn as if they were others."""
    labels: dict[Path, str] = {}
    for path, label in rows:
        known = labels.setdefault(path, label)
        if known != label:
            raise InputError(
                f"{source}: lists {path} as {known!r} and as {label!r}; keep the right label only."
            )
    if len(labels) < len(rows):
        warnings.warn(
            f"{source}: {len(rows) - len(labels)} of {len(rows)} rows list an image again and are "
            "left out.",
            stacklevel=3,
        )
    return list(labels.items())


def _checked_row(where: str, root: Path, name: Any, label: Any) -> tuple[Path, str]:
    label = "" if label is None else str(label).strip()
    if not name or not isinstance(name, str) or not label:
        raise InputError(f"{where}: has an empty path or label; fill it in or remove the line.")
    if not _is_file(root / name):
        raise InputError(f"{where}: there is no image file {name!r} in {str(root.resolve())!r}.")
    return root / name, label


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False
