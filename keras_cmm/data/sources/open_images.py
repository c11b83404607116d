"""Opening labelled images of any kind by their path."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_cmm.data.sources.archive_source import ArchiveSource
from keras_cmm.data.sources.folders import (
    ARCHIVE_SUFFIXES,
    COMPRESSED_SUFFIXES,
    visible_entries,
)
from keras_cmm.data.sources.hf_source import HFSource, is_hf_folder
from keras_cmm.data.sources.image_list import ImageList
from keras_cmm.data.sources.image_source import ImageSource
from keras_cmm.data.sources.image_tables import is_parquet_list
from keras_cmm.errors import InputError

SPLITS = ("train", "val", "test")
_TRAIN_WORDS = {"train", "training", "trainset"}
_OTHER_WORDS = {"test", "testing", "testset", "val", "valid", "validation", "valset", "dev"}


def open_images(
    path: str | Path,
    *,
    root: str | Path | None = None,
    split: str | None = None,
    class_names: Sequence[str] | None = None,
) -> ImageSource:
    """Opens labelled images, whatever kind of folder or file they lie in.

    - A folder with one sub-folder of images for each class: see `ImageList.from_folder`.
    - A .csv or .parquet list with the columns `path` and `label`: see `ImageList.from_csv`.
    - A .json split file of CoOp: see `ImageList.from_coop`.
    - A .zip or .tar archive of class folders, or a WebDataset: see `ArchiveSource.from_file`.
    - A .parquet file that holds the images, or a folder that `save_to_disk` of Hugging Face's
      datasets wrote: see `HFSource`.

    Args:
        path: The folder or file.
        root: The folder that the paths of a list start from. Defaults to the list's own folder. A
            file with another suffix than those above is read as CSV if `root` is given.
        split: The split to open, such as "train", of a split file, of a Hugging Face folder, or of
            a folder that has one sub-folder for each split.
        class_names: Names and order of the classes, such as those of a trained model. Defaults to
            the classes that are found.

    Returns:
        The images. None of them is opened yet.

    Raises:
        InputError: If `path` is none of these, or cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat/1.png", "dog/1.png"):
        ...         Path(folder, name).parent.mkdir()
        ...         Path(folder, name).touch()
        ...     images = open_images(folder)
        >>> images.class_names, images.labels.tolist()
        (('cat', 'dog'), [0, 1])
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path, split, class_names)
    suffix = path.suffix.lower()
    if suffix == ".json":
        if split not in SPLITS:
            raise InputError(
                f'{path}: `split` must be "train", "val" or "test" for a split file. '
                f"Received: split={split!r}"
            )
        where: Any = split
        return ImageList.from_coop(path, root or path.parent, where, class_names)
    if split is not None:
        raise InputError(f"{path}: has no splits; leave out `split`.")
    if suffix == ".parquet" and (root is not None or is_parquet_list(path)):
        return ImageList.from_parquet(path, root, class_names)
    if suffix == ".parquet":
        return HFSource.from_parquet(path, class_names)
    if suffix == ".csv" or root is not None:
        return ImageList.from_csv(path, root, class_names)
    if suffix in ARCHIVE_SUFFIXES:
        images = ArchiveSource.from_file(path, class_names)
        _refuse_splits(images.class_names, path, "pack the folder of each split by itself")
        return images
    if not path.exists():
        raise InputError(f"{path}: no such file or folder.")
    if suffix in COMPRESSED_SUFFIXES:
        raise InputError(f"{path}: is compressed; uncompress it first.")
    raise InputError(
        f"{path}: is a file; give a folder of images, or a .zip, .tar, .csv or .parquet file."
    )


def _open_folder(folder: Path, split: str | None, class_names: Sequence[str] | None) -> ImageSource:
    if is_hf_folder(folder):
        return HFSource.from_folder(folder, split, class_names)
    if split is not None:
        folder = folder / split
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; `split` must name a sub-folder.")
    if class_names is not None:  # Otherwise the splits would be refused as unknown classes.
        folders = {entry.name for entry in visible_entries(folder)[0]}
        _refuse_splits(folders - set(class_names), folder, "give one of them")
    images = ImageList.from_folder(folder, class_names)
    _refuse_splits(images.class_names, folder)
    return images


def _refuse_splits(names: Iterable[str], path: Path, mend: str | None = None) -> None:
    """Raises an error if class names look like the splits of one data set.

    Names are splits only if they differ in nothing else: "train station" and "test tube" are
    classes.
    """
    train: dict[frozenset[str], str] = {}
    others: set[frozenset[str]] = set()
    for name in sorted(names):
        words = frozenset(re.findall(r"[^\W\d_]+", name.casefold()))
        rest = words - _TRAIN_WORDS - _OTHER_WORDS
        if words & _TRAIN_WORDS:
            train.setdefault(rest, name)
        elif words & _OTHER_WORDS:
            others.add(rest)
    for rest, name in train.items():
        if rest in others:
            mend = mend or f"give {path / name}"
            raise InputError(f"{path}: its folders look like splits, not classes; {mend}.")
