"""Opening labelled images of any kind by their path."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.sources.archive_source import ArchiveSource
from keras_cmm_runtime.sources.folders import (
    ARCHIVE_SUFFIXES,
    COMPRESSED_SUFFIXES,
    LIST_SUFFIXES,
    see_through,
    visible_entries,
)
from keras_cmm_runtime.sources.hf_source import HFSource, hf_splits, is_hf_folder, parquet_shards
from keras_cmm_runtime.sources.image_list import ImageList
from keras_cmm_runtime.sources.image_source import ImageSource
from keras_cmm_runtime.sources.image_tables import is_parquet_list, read_csv_list, read_parquet_list
from keras_cmm_runtime.sources.splits import SPLITS, choose_splits, declared_splits, find_splits
from keras_cmm_runtime.utils import listed, warn

_Opened = Iterator[tuple[str | None, ImageSource]]


def open_images(
    path: str | Path,
    *,
    root: str | Path | None = None,
    split: str | None = None,
    class_names: Sequence[str] | None = None,
    image: str | None = None,
    label: str | None = None,
) -> ImageSource:
    """Lists labelled images, whatever they lie in.

    - A folder with one sub-folder of images for each class: see `ImageList.from_folder`.
    - A .csv, .tsv or .parquet list with the columns `path` and `label`: see `ImageList.from_csv`.
    - A .json split file of CoOp: see `ImageList.from_coop`.
    - A .zip or .tar archive of class folders, or a WebDataset: see `ArchiveSource.from_file`.
    - A .parquet file that holds the images, a folder of such files, or a folder that `save_to_disk`
      of Hugging Face's datasets wrote: see `HFSource`.

    Args:
        path: The folder or file.
        root: The folder that the paths of a list start from. Defaults to the list's own folder. A
            file with another suffix than those above is read as CSV if `root` is given.
        split: The split to open, such as "train". It must be given where there are splits: in a
            split file, in a folder or archive that has one folder for each split, in a list with a
            column of splits, and in a Hugging Face folder of several splits.
        class_names: Names and order of the classes, such as those of a trained model. Defaults to
            the classes that are found.
        image: Name of the column of images or their paths, for a list or Parquet files.
        label: Name of the column of labels, for a list or Parquet files.

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
    if split is not None and not is_hf_folder(path) and (path / split).is_dir():
        path, split = path / split, None
    wanted = () if split is None else (split,)
    opened = _open(path, root, wanted, class_names, {"image": image, "label": label})
    found, images = next(opened)
    if found is None and split is not None:
        raise InputError(f"{path}: has no splits; leave out `split`.")
    return images


def open_splits(
    path: str | Path,
    splits: Sequence[str],
    *,
    root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    image: str | None = None,
    label: str | None = None,
) -> dict[str | None, ImageSource]:
    """Lists the labelled images of some splits, or all images where there are no splits.

    Args:
        path: As in `open_images`.
        splits: The splits, such as `["train", "test"]`.
        root: As in `open_images`.
        class_names: As in `open_images`. Defaults to the classes of the first split.
        image: As in `open_images`.
        label: As in `open_images`.

    Returns:
        Those of the splits that `path` has, with their images; or `{None: images}` if it has no
        splits.

    Raises:
        InputError: If `path` has splits but none of these, and as `open_images` does.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("train/cat", "train/dog", "test/cat"):
        ...         Path(folder, name).mkdir(parents=True)
        ...         Path(folder, name, "1.png").touch()
        ...     opened = open_splits(folder, ["train", "val", "test"])
        >>> {split: len(images) for split, images in opened.items()}
        {'train': 2, 'test': 1}
    """
    return dict(_open(Path(path), root, splits, class_names, {"image": image, "label": label}))


def _open(
    path: Path,
    root: str | Path | None,
    wanted: Sequence[str],
    class_names: Sequence[str] | None,
    columns: Mapping[str, str | None],
) -> _Opened:
    """Yields the wanted splits with their images, or `None` with all images."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return _open_folder(path, wanted, class_names, columns)
    if suffix == ".json":
        return _open_coop(path, Path(root or path.parent), wanted, class_names)
    if suffix == ".parquet" and root is None and not is_parquet_list(path, columns["image"]):
        return iter([(None, HFSource.from_parquet(path, class_names, **columns))])
    if suffix in LIST_SUFFIXES or (root is not None and suffix not in ARCHIVE_SUFFIXES):
        return _open_table(path, root, wanted, class_names, columns)
    _refuse_columns(path, columns)
    if suffix in ARCHIVE_SUFFIXES:
        return _open_archive(path, wanted, class_names)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder.")
    if suffix in COMPRESSED_SUFFIXES:
        raise InputError(f"{path}: is compressed; uncompress it first.")
    raise InputError(
        f"{path}: is a file; give a folder of images, or a .zip, .tar, .csv or .parquet file."
    )


def _open_folder(
    folder: Path,
    wanted: Sequence[str],
    class_names: Sequence[str] | None,
    columns: Mapping[str, str | None],
) -> _Opened:
    if is_hf_folder(folder):
        splits = hf_splits(folder)
        chosen = choose_splits(folder, declared_splits(splits), wanted) if splits else {None: None}
        for split, name in chosen.items():
            source = HFSource.from_folder(folder, name, class_names, **columns)
            class_names = source.class_names
            yield split, source
        return
    if shards := parquet_shards(folder):
        yield from _open_shards(folder, shards, wanted, class_names, columns)
        return
    _refuse_columns(folder, columns)
    folder = see_through(folder)
    folders = {entry.name for entry in visible_entries(folder)[0]}
    found = find_splits(folders.difference(class_names or ()), folder)
    if len(folders) == 1 and folders <= set(SPLITS):
        found = declared_splits(folders)
    if not found:
        yield from _split_classes(folder, ImageList.from_folder(folder, class_names), wanted)
        return
    if not wanted:
        first = folder / next(iter(found.values()))
        raise InputError(f"{folder}: its folders look like splits, not classes; give {first}.")
    chosen = choose_splits(folder, found, wanted)
    others = sorted(folders.difference(found.values()))
    if others:
        warn(f"{folder}: only its splits are used, {listed(found.values())}, not {listed(others)}.")
    for split, name in chosen.items():
        images = ImageList.from_folder(folder / name, class_names)
        class_names = images.class_names
        yield split, images


def _open_archive(path: Path, wanted: Sequence[str], class_names: Sequence[str] | None) -> _Opened:
    for split, images in ArchiveSource.open_splits(path, wanted, class_names):
        if split is None:
            yield from _split_classes(path, images, wanted)
        else:
            yield split, images


def _split_classes(path: Path, images: ImageSource, wanted: Sequence[str]) -> _Opened:
    """Yields the splits of images if they lie in folders such as "cat/train", or all images."""
    keys = images.keys()
    parts = [key.split("/") for key in keys]
    inner = {part[1] if len(part) > 2 else "" for part in parts}
    found = {} if len(inner) > len(SPLITS) else find_splits(inner, path)
    if set(found.values()) != inner:
        yield None, images
        return
    for split, name in choose_splits(path, found, wanted).items():
        yield split, images.take([row for row, part in enumerate(parts) if part[1] == name])


def _open_shards(
    folder: Path,
    shards: Mapping[str, Sequence[Path]],
    wanted: Sequence[str],
    class_names: Sequence[str] | None,
    columns: Mapping[str, str | None],
) -> _Opened:
    if list(shards) == [""]:
        yield None, HFSource.from_parquet(shards[""], class_names, **columns)
        return
    for split, name in choose_splits(folder, declared_splits(shards), wanted).items():
        images = HFSource.from_parquet(shards[name], class_names, **columns)
        class_names = images.class_names
        yield split, images


def _open_table(
    path: Path,
    root: str | Path | None,
    wanted: Sequence[str],
    class_names: Sequence[str] | None,
    columns: Mapping[str, str | None],
) -> _Opened:
    read = read_parquet_list if path.suffix.lower() == ".parquet" else read_csv_list
    table = read(path, **columns)
    column, found = table.splits()
    if column is None:
        yield None, ImageList.from_table(table, root, class_names)
        return
    table.refuse_shared_images(column)
    for split, name in choose_splits(path, found, wanted).items():
        images = ImageList.from_table(table, root, class_names, (column, name))
        class_names = images.class_names
        yield split, images


def _open_coop(
    path: Path, root: Path, wanted: Sequence[str], class_names: Sequence[str] | None
) -> _Opened:
    if not set(wanted) & set(SPLITS):
        received = wanted[0] if wanted else None
        raise InputError(
            f'{path}: `split` must be "train", "val" or "test" for a split file. '
            f"Received: split={received!r}"
        )
    for split in wanted:
        if split in SPLITS:
            where: Any = split
            yield split, ImageList.from_coop(path, root, where, class_names)


def _refuse_columns(path: Path, columns: Mapping[str, str | None]) -> None:
    for name, column in columns.items():
        if column is not None:
            raise InputError(
                f"{path}: has no columns; leave out `{name}`. Received: {name}={column!r}"
            )
