"""Images of Hugging Face data sets."""

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.sources.class_names import (
    NAMES_FILE,
    name_numbers,
    number_classes,
    read_class_names,
    renumber_classes,
)
from keras_cmm_runtime.sources.folders import image_files, visible_entries
from keras_cmm_runtime.sources.stored_image import StoredImage
from keras_cmm_runtime.sources.stored_images import StoredImages
from keras_cmm_runtime.utils import (
    listed,
    read_json_object,
    refuse_special_file,
    refuse_special_files,
)

_LABEL_COLUMNS = ("label", "labels", "cls", "class", "class_name", "category")
_SPLIT_NAMES = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")


@dataclass(frozen=True, eq=False)
class HFSource(StoredImages):
    """Labelled images of a `datasets.Dataset` of Hugging Face.

    It is an `ImageSource`. `read_image` gets the bytes of the image files unchanged. The identity
    of an image is its row number in the data set.

    Example:
        >>> import datasets
        >>> from PIL import Image
        >>> kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
        >>> rows = {"image": [Image.new("RGB", (8, 8)), Image.new("RGB", (9, 9))], "label": [1, 0]}
        >>> dataset = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
        >>> source = HFSource.from_dataset(dataset)
        >>> source.class_names, source.labels.tolist(), source.keys()
        (('cat', 'dog'), [1, 0], ['0', '1'])
    """

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        image: str | None = None,
        label: str | None = None,
        class_names: Sequence[str] | None = None,
    ) -> Self:
        """Takes the images and labels of a data set.

        Args:
            dataset: A `datasets.Dataset`: one split, not streamed.
            image: Name of the column of images. Defaults to the only column of the type `Image`,
                or if there is none to the only one of image files, as bytes or as `{bytes, path}`.
            label: Name of the column of labels, of the type `ClassLabel`, text or integer. Defaults
                to the only column of the type `ClassLabel`, or if there is none to the only one
                that is called label, labels, class or the like.
            class_names: Names and order of the classes, such as those of a trained model. Defaults
                to those of the `ClassLabel`, or to the texts, sorted. Integers need it.

        Returns:
            The images in the order of the data set.

        Raises:
            InputError: If `dataset` is no such data set, a column is missing or must be named, or
                labels cannot be used.
        """
        datasets = _import_datasets("`dataset`")
        if not isinstance(dataset, datasets.Dataset):
            splits = f": {listed(dataset)}" if isinstance(dataset, dict) else ""
            raise InputError(
                "`dataset` must be a datasets.Dataset, one split and not streamed. "
                f"Received: {type(dataset).__name__}{splits}"
            )
        return cls._of(dataset, None, image, label, class_names)

    @classmethod
    def _of(
        cls,
        dataset: Any,
        path: Path | None,
        image: str | None,
        label: str | None,
        class_names: Sequence[str] | None,
    ) -> Self:
        """Takes the images and labels of a data set that lies at `path`, or nowhere."""
        datasets = _import_datasets("`dataset`")
        where = "the data set" if path is None else str(path)
        features = dataset.features
        images = _stored_images(dataset, path, image)
        label = label or _label_column(where, features)
        _check_column(where, features, label)
        kind = features[label]
        values = dataset.with_format(None)[label][:]
        source = f"column {label!r}" if path is None else f"{path}, column {label!r}"
        if isinstance(kind, datasets.ClassLabel):
            ids = np.array([-1 if value is None else value for value in values], dtype=np.int64)
            known, labels = renumber_classes(source, ids, kind.names, class_names)
        elif all(isinstance(value, str) for value in values):
            known, labels = number_classes(source, values, class_names)
        elif all(type(value) is int for value in values):
            beside = None if path is None else path.parent / NAMES_FILE
            names = (
                None
                if beside is None or not beside.is_file()
                else read_class_names(beside, numbered=True)
            )
            known, labels = name_numbers(source, values, names, class_names)
        else:
            raise InputError(
                f"{source} must be of the type ClassLabel, text or integer, without gaps. "
                f"Received: {kind}"
            )
        return cls(images, labels, known, tuple(str(row) for row in range(len(dataset))))

    @classmethod
    def from_parquet(
        cls,
        path: str | Path | Sequence[str | Path],
        class_names: Sequence[str] | None = None,
        *,
        image: str | None = None,
        label: str | None = None,
    ) -> Self:
        """Reads a Parquet file that holds images and labels, as Hugging Face writes them.

        Args:
            path: The file, or the files that a data set is cut into. If the labels are integers
                without names, a file `classnames.txt` beside it names them, one name a line.
            class_names: As in `from_dataset`.
            image: As in `from_dataset`.
            label: As in `from_dataset`.

        Returns:
            The images in the order of the file.

        Raises:
            InputError: If the file cannot be read, and as `from_dataset` does.
        """
        paths = [Path(path)] if isinstance(path, str | Path) else [Path(part) for part in path]
        for part in paths:
            refuse_special_file(part)
        datasets = _import_datasets(paths[0])
        with _readable(paths[0], "Parquet"):
            dataset = datasets.Dataset.from_parquet([str(part) for part in paths])
        return cls._of(dataset, paths[0], image, label, class_names)

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        split: str | None = None,
        class_names: Sequence[str] | None = None,
        *,
        image: str | None = None,
        label: str | None = None,
    ) -> Self:
        """Reads a folder that `save_to_disk` of a `Dataset` or `DatasetDict` wrote.

        Args:
            folder: The folder.
            split: The split of a `DatasetDict`, such as "train".
            class_names: As in `from_dataset`.
            image: As in `from_dataset`.
            label: As in `from_dataset`.

        Returns:
            The images in the order of the data set.

        Raises:
            InputError: If the folder cannot be read or lacks the split, and as `from_dataset` does.
        """
        folder = Path(folder)
        refuse_special_files(folder)
        datasets = _import_datasets(folder)
        with _readable(folder, "a data set"):
            dataset = datasets.load_from_disk(str(folder))
        splits = list(dataset) if isinstance(dataset, datasets.DatasetDict) else [None]
        if split not in splits:
            raise InputError(
                f"{folder}: `split` must be one of {listed(splits)}. Received: split={split!r}"
            )
        return cls.from_dataset(
            dataset if split is None else dataset[split],
            image=image,
            label=label,
            class_names=class_names,
        )


def pairs_of_dataset(dataset: Any) -> Iterator[tuple[StoredImage, str | None]]:
    """Yields the images of a `datasets.Dataset` and their class names, `None` if it has no labels.

    Args:
        dataset: A `datasets.Dataset`, with the columns that `HFSource.from_dataset` finds.

    Raises:
        InputError: As `HFSource.from_dataset` does.
    """
    datasets = _import_datasets("`dataset`")
    if any(
        isinstance(kind, datasets.ClassLabel) or name.lower() in _LABEL_COLUMNS
        for name, kind in dataset.features.items()
    ):
        source = HFSource.from_dataset(dataset)
        names = [source.class_names[label] for label in source.labels.tolist()]
        yield from zip(source.images, names, strict=True)
    else:
        yield from ((image, None) for image in _stored_images(dataset, None, None))


def is_hf_folder(folder: Path) -> bool:
    """Returns whether `save_to_disk` of Hugging Face's datasets wrote a folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def hf_splits(folder: Path) -> list[str]:
    """Returns the splits of a folder that `save_to_disk` wrote; a single `Dataset` has none."""
    path = folder / "dataset_dict.json"
    splits = read_json_object(path).get("splits") if path.is_file() else []
    if not isinstance(splits, list) or not all(isinstance(split, str) for split in splits):
        raise InputError(f"{path}: names no splits; save the data set again.")
    return splits


def parquet_shards(folder: Path) -> dict[str, list[Path]]:
    """Finds the Parquet files of a folder, or of its folder `data`, as Hugging Face's hub has them.

    Args:
        folder: The folder.

    Returns:
        The files by split, which is "" where the names tell none. Empty if there are no such files.

    Raises:
        InputError: If a data set is cut into files of which one is missing.
    """
    beside = [entry for entry in visible_entries(folder)[0] if entry.name != "data"]
    for place in (folder, folder / "data"):
        files = visible_entries(place)[1] if place.is_dir() else []
        shards: dict[str, list[Path]] = {}
        for path in files:
            if path.suffix.lower() != ".parquet":
                continue
            split = re.split(r"[-_.]", path.stem)[0]
            shards.setdefault(split if split in _SPLIT_NAMES else "", []).append(path)
            part = re.search(r"-(\d+)-of-(\d+)", path.stem)
            if part and len(list(place.glob(f"{path.stem[: part.start()]}-*-of-{part[2]}*"))) < int(
                part[2]
            ):
                raise InputError(
                    f"{path}: is one of {int(part[2])} files, but some of them are missing; get "
                    "all."
                )
        # Beside class folders they are something else.
        if shards:
            return {} if any(image_files(entry)[0] for entry in beside) else shards
    return {}


def _stored_images(dataset: Any, path: Path | None, image: str | None) -> tuple[StoredImage, ...]:
    """Returns the images of a data set, which are read when they are needed."""
    datasets = _import_datasets("`dataset`")
    where = "the data set" if path is None else str(path)
    image = image or _image_column(where, dataset.features)
    _check_column(where, dataset.features, image)
    if not _is_image(dataset.features[image]):
        raise InputError(
            f"{where}: column {image!r} must be of images, as bytes or as the type Image. "
            f"Received: {dataset.features[image]}"
        )
    encoded = dataset.with_format(None).select_columns(image)
    encoded = encoded.cast_column(image, datasets.Image(decode=False))
    name = str(path or "") or dataset.info.dataset_name or "dataset"
    return tuple(
        StoredImage(f"{name}[{row}]", functools.partial(_read_row, encoded, image, row))
        for row in range(len(dataset))
    )


def _check_column(where: str, features: Any, name: str) -> None:
    if name not in features:
        raise InputError(f"{where} has no column {name!r} (it has {listed(features)}).")


@contextlib.contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    """Raises an `InputError` if Hugging Face cannot read `path`."""
    datasets = _import_datasets(path)
    try:
        yield
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: cannot be read as {what} ({reason}).") from error


def _import_datasets(source: object) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"{source}: needs Hugging Face's datasets; run `pip install 'keras-cmm[hf]'`."
        ) from error
    return datasets


def _image_column(where: str, features: Any) -> str:
    datasets = _import_datasets(where)
    typed = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    files = [name for name, kind in features.items() if _is_image(kind)]
    return _only_column(where, features, typed or files, "Image", "image")


def _label_column(where: str, features: Any) -> str:
    datasets = _import_datasets(where)
    typed = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    named = [name for name in features if name.lower() in _LABEL_COLUMNS]
    return _only_column(where, features, typed or named, "ClassLabel", "label")


def _only_column(where: str, features: Any, found: list[str], kind: str, argument: str) -> str:
    if len(found) != 1:
        raise InputError(
            f"{where} has {len(found)} columns of the type {kind}; name one as `{argument}`, on "
            f"the command line as --{argument}-column (it has {listed(features)})."
        )
    return found[0]


def _is_image(kind: Any) -> bool:
    """Returns whether a column has image files: as such, as bytes, or as `{bytes, path}`."""
    datasets = _import_datasets("`dataset`")
    if isinstance(kind, dict):
        return kind.keys() == {"bytes", "path"}
    is_bytes = isinstance(kind, datasets.Value) and kind.dtype in ("binary", "large_binary")
    return is_bytes or isinstance(kind, datasets.Image)


def _read_row(dataset: Any, column: str, row: int) -> bytes:
    value = dataset[row][column]
    if value is None:
        raise InputError(f"row {row} of the data set has no image.")
    data = value["bytes"]
    return Path(value["path"]).read_bytes() if data is None else data
