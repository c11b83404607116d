"""Images of Hugging Face data sets."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from keras_cmm.data.sources.class_names import number_classes, renumber_classes
from keras_cmm.data.sources.stored_image import StoredImage
from keras_cmm.data.sources.stored_images import StoredImages
from keras_cmm.errors import InputError
from keras_cmm.utils import listed, refuse_special_file, refuse_special_files


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
            image: Name of the column of images. Defaults to the only column of the type `Image`.
            label: Name of the column of labels, of the type `ClassLabel` or text. Defaults to the
                only column of the type `ClassLabel`.
            class_names: Names and order of the classes, such as those of a trained model. Defaults
                to those of the `ClassLabel`, or to the texts, sorted.

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
        features = dataset.features
        image = image or _only_column(features, datasets.Image, "image")
        label = label or _only_column(features, datasets.ClassLabel, "label")
        for name in (image, label):
            if name not in features:
                raise InputError(
                    f"the data set has no column {name!r} (it has {listed(features)})."
                )
        kind = features[label]
        values = dataset.with_format(None)[label][:]
        source = f"column {label!r}"
        if isinstance(kind, datasets.ClassLabel):
            ids = np.array(values, dtype=np.int64)
            known, labels = renumber_classes(source, ids, kind.names, class_names)
        elif all(isinstance(value, str) for value in values):
            known, labels = number_classes(source, values, class_names)
        else:
            raise InputError(f"{source} must be of the type ClassLabel or text. Received: {kind}")
        encoded = dataset.with_format(None).select_columns(image)
        encoded = encoded.cast_column(image, datasets.Image(decode=False))
        name = dataset.info.dataset_name or "dataset"
        images = tuple(
            StoredImage(f"{name}[{row}]", functools.partial(_read_row, encoded, image, row))
            for row in range(len(dataset))
        )
        return cls(images, labels, known, tuple(str(row) for row in range(len(dataset))))

    @classmethod
    def from_parquet(cls, path: str | Path, class_names: Sequence[str] | None = None) -> Self:
        """Reads a Parquet file that holds images and labels, as Hugging Face writes them.

        Args:
            path: The file.
            class_names: As in `from_dataset`.

        Returns:
            The images in the order of the file.

        Raises:
            InputError: If the file cannot be read, and as `from_dataset` does.
        """
        path = Path(path)
        refuse_special_file(path)
        datasets = _import_datasets(path)
        with _readable(path, "Parquet"):
            dataset = datasets.Dataset.from_parquet(str(path))
        return cls.from_dataset(dataset, class_names=class_names)

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        split: str | None = None,
        class_names: Sequence[str] | None = None,
    ) -> Self:
        """Reads a folder that `save_to_disk` of a `Dataset` or `DatasetDict` wrote.

        Args:
            folder: The folder.
            split: The split of a `DatasetDict`, such as "train".
            class_names: As in `from_dataset`.

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
            dataset if split is None else dataset[split], class_names=class_names
        )


def is_hf_folder(folder: Path) -> bool:
    """Returns whether `save_to_disk` of Hugging Face's datasets wrote a folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


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


def _only_column(features: Any, kind: type, argument: str) -> str:
    columns = [name for name, feature in features.items() if isinstance(feature, kind)]
    if len(columns) != 1:
        raise InputError(
            f"the data set has {len(columns)} columns of the type {kind.__name__}; name one as "
            f"`{argument}` (it has {listed(features)})."
        )
    return columns[0]


def _read_row(dataset: Any, column: str, row: int) -> bytes:
    value = dataset[row][column]
    if value is None:
        raise InputError(f"row {row} of the data set has no image.")
    data = value["bytes"]
    return Path(value["path"]).read_bytes() if data is None else data
