"""Image files and their classes."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.sources.class_names import number_classes, renumber_classes
from keras_cmm_runtime.sources.coop_split import read_coop_split
from keras_cmm_runtime.sources.folders import (
    image_files,
    listed_files,
    refuse_missing,
    see_through,
    sort_out,
    visible_entries,
    warn_of_other_images,
    without_images,
)
from keras_cmm_runtime.sources.image_tables import (
    ImageTable,
    Rows,
    read_csv_list,
    read_parquet_list,
)
from keras_cmm_runtime.sources.labelled_images import LabelledImages
from keras_cmm_runtime.utils import listed, warn


@dataclass(frozen=True, eq=False)
class ImageList(LabelledImages):
    """Labelled image files, named by folders, a CSV or Parquet list, or a split file of CoOp.

    It is an `ImageSource`, and opens no image.

    Args:
        paths: One file an image.
        labels: `(images,)` int32 class ids, indices into `class_names`.
        class_names: One name a class.
        root: The folder that `keys()` are relative to.
        names: One identity an image, returned by `keys()`. Defaults to the paths, relative to
            `root`.

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
    names: tuple[str, ...] | None = None

    @property
    def images(self) -> tuple[Path, ...]:
        """The images to read: `paths`."""
        return self.paths

    @classmethod
    def from_folder(cls, root: str | Path, class_names: Sequence[str] | None = None) -> Self:
        """Lists the images of a folder that has one sub-folder for each class.

        Images lie at any depth inside a class folder and are found by suffix (.jpg .jpeg .jpe .jfif
        .png .bmp .webp .gif .tif .tiff .ppm .pgm .pbm .pnm .avif, in any case). What only has the
        name of an image, such as a broken link, is listed too; an error follows when it is read.
        Hidden files, other files and what systems write, such as `@eaDir`, are ignored. A warning
        names what is left out: images of formats that cannot be read, such as .heic, images without
        a known suffix, images directly in `root`, and class folders without images. `class_names`
        keeps a class without images. A folder that holds nothing but a folder of its own name is
        that folder.

        Args:
            root: The folder.
            class_names: Names and order of the classes, such as those of a trained model. A class
                needs no folder. Defaults to the names of the sub-folders, sorted.

        Returns:
            The images, sorted by folder name, then path.

        Raises:
            InputError: If the folder is missing, has no class folders with images, has one class
                only (where `class_names` is not given), or has classes outside `class_names`.
        """
        root = Path(root)
        if not root.exists():
            raise InputError(f"{root}: no such folder.")
        if not root.is_dir():
            raise InputError(f"{root}: is a file; expected a folder with one sub-folder a class.")
        root = see_through(root)
        folders, files = visible_entries(root)
        found: dict[str, list[Path]] = {}
        others: list[Path] = []
        for folder in folders:
            found[folder.name], unread = image_files(folder, outside=[root])
            others += unread
        loose = list(itertools.chain(*sort_out(files)))
        empty = [name for name, images in found.items() if not images]
        if len(empty) == len(found):
            if others and not loose:
                raise InputError(without_images(root, others))
            what = "images lie directly in it" if loose else "there are no images in it"
            raise InputError(f"{root}: {what}; each class needs its own sub-folder of images.")
        warn_of_other_images(others)
        if loose:
            warn(
                f"{loose[0]}: left out, with all images directly in {root} ({len(loose)}); move "
                "them into the folders of their classes."
            )
        if empty:
            left_out = " are left out" if class_names is None else ""
            warn(f"{root}: class folders without images{left_out}: {listed(empty)}.")
        rows = [(path, name) for name, images in found.items() for path in images]
        _refuse_folder_around_classes(root, {name for _, name in rows}, class_names)
        return cls._from_rows(root, root, rows, class_names)

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        root: str | Path | None = None,
        class_names: Sequence[str] | None = None,
        *,
        image: str | None = None,
        label: str | None = None,
    ) -> Self:
        """Lists the images named in a CSV file with the columns `path` and `label`.

        Other columns are ignored, and an image that is listed again under the same label counts
        once. A warning tells of both. `open_images` can open one split of the images, if a column
        names the splits.

        Args:
            path: The file, UTF-8, separated by commas, semicolons or tabs, with a header line in
                any case. Labels are class names; white space around them is dropped.
            root: The folder that relative paths start from. Defaults to the file's own folder.
            class_names: Names and order of the classes, such as those of a trained model. A class
                needs no image. Defaults to the labels, sorted.
            image: Name of the column of paths. Defaults to `path`.
            label: Name of the column of labels. Defaults to `label`.

        Returns:
            The images in the order of the file.

        Raises:
            InputError: If the file cannot be read, lacks a column, a value or an image file, lists
                an image under two labels, has several labels in a row, separated by semicolons
                (multi-label data is not supported), has one class only (where `class_names` is not
                given), or has labels outside `class_names`.
        """
        return cls.from_table(read_csv_list(Path(path), image, label), root, class_names)

    @classmethod
    def from_parquet(
        cls,
        path: str | Path,
        root: str | Path | None = None,
        class_names: Sequence[str] | None = None,
        *,
        image: str | None = None,
        label: str | None = None,
    ) -> Self:
        """Lists the images named in a Parquet file, as `from_csv` does for a CSV file.

        Numbers as labels become names. `HFSource.from_parquet` reads a file that holds the images
        themselves.

        Args:
            path: The file; it needs pyarrow.
            root: As in `from_csv`.
            class_names: As in `from_csv`.
            image: As in `from_csv`.
            label: As in `from_csv`.

        Returns:
            The images in the order of the file.

        Raises:
            InputError: As `from_csv` does, and if pyarrow is not installed.
        """
        return cls.from_table(read_parquet_list(Path(path), image, label), root, class_names)

    @classmethod
    def from_table(
        cls,
        table: ImageTable,
        root: str | Path | None,
        class_names: Sequence[str] | None,
        split: tuple[int, str] | None = None,
    ) -> Self:
        """Lists the images of a table that was read, as `from_csv` does.

        Args:
            table: What `read_csv_list` or `read_parquet_list` returned.
            root: As in `from_csv`.
            class_names: As in `from_csv`.
            split: The column and the name of a split, or `None` for all rows.
        """
        root = table.path.parent if root is None else Path(root)
        return cls._from_rows(table.path, root, table.image_files(root, split), class_names)

    @classmethod
    def from_coop(
        cls,
        split_file: str | Path,
        root: str | Path,
        split: Literal["train", "val", "test"],
        class_names: Sequence[str] | None = None,
    ) -> Self:
        """Lists one split of a data set in the layout of CoOp's DATASETS.md.

        Args:
            split_file: A file such as "split_zhou_OxfordPets.json".
            root: The folder of images that its paths start from, such as "oxford_pets/images".
            split: The split.
            class_names: Names and order of the classes, such as those of a trained model. Defaults
                to the names in the file, by their ids there.

        Returns:
            The images in the order of the file.

        Raises:
            InputError: If the file is not such a file, an image is missing, or a class is not in
                `class_names`.

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
        listed_names = [name for name, _ in rows]
        paths = tuple(listed_files(root, listed_names))
        mend = "complete the download, or give the folder that the listed paths start from"
        refuse_missing(paths, split_file, mend)
        known, ids = renumber_classes(split_file, [label for _, label in rows], names, class_names)
        return cls(paths, ids, known, root, tuple(listed_names))

    def keys(self) -> list[str]:
        """Returns one identity for each image, for `sample_few_shot`.

        Returns:
            The paths relative to `root`, with forward slashes on every platform. A path outside
            `root` is given in full.
        """
        if self.names is not None:
            return list(self.names)
        return [
            (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()
            for path in self.paths
        ]

    def _take_rows(self, rows: npt.NDArray[np.int64]) -> Self:
        paths = tuple(self.paths[row] for row in rows)
        names = None if self.names is None else tuple(self.names[row] for row in rows)
        return replace(self, paths=paths, labels=self.labels[rows], names=names)

    @classmethod
    def _from_rows(
        cls, source: Path, root: Path, rows: Rows, class_names: Sequence[str] | None
    ) -> Self:
        names, labels = number_classes(source, [name for _, name in rows], class_names)
        return cls(tuple(path for path, _ in rows), labels, names, root)


def _refuse_folder_around_classes(
    root: Path, names: set[str], class_names: Sequence[str] | None
) -> None:
    """Raises an error if a folder has one class folder, in which the classes may lie."""
    if len(names) == 1 and class_names is None:
        folder = root / min(names)
        if len(visible_entries(folder)[0]) > 1:
            raise InputError(
                f"{root}: has one class only, {folder.name!r}; if its sub-folders are the classes, "
                f"give {folder}."
            )
