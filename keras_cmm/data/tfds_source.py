"""Images of tensorflow-datasets."""

from __future__ import annotations

import copy
import functools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.sources.class_names import renumber_classes
from keras_cmm_runtime.sources.labelled_images import LabelledImages
from keras_cmm_runtime.sources.stored_image import StoredImage
from keras_cmm_runtime.utils import listed


class TFDSSource(LabelledImages):
    """Labelled images of a data set that tensorflow-datasets has prepared on disk.

    It is an `ImageSource`. `read_image` gets the bytes of the image files unchanged, without
    TensorFlow's decoding. The identity of an image is its place in the files of the data set. The
    files can only be read from their start, so the images that `take` selects are read in the order
    of the files, and held until their turn comes.

    Args:
        builder: A `tfds.core.DatasetBuilder`, or its name, such as "oxford_iiit_pet" or
            "eurosat/rgb".
        split: The split, such as "train" or "train[:80%]".
        data_dir: The folder of the data sets, or `None` for TFDS's default. Nothing is downloaded.
        image: Name of the feature that is the image.
        label: Name of the feature that is the class.
        class_names: Names and order of the classes, such as those of a trained model. Defaults to
            those of the data set.

    Raises:
        InputError: If tensorflow-datasets is not installed, has no such data set, split or
            features, or has not prepared the data set.

    Example:
        >>> import tensorflow_datasets as tfds
        >>> with tfds.testing.mock_data(num_examples=3):  # random data, for tests
        ...     pets = TFDSSource("oxford_iiit_pet", "test")
        >>> len(pets), len(pets.class_names)
        (3, 37)
    """

    def __init__(
        self,
        builder: Any,
        split: str,
        *,
        data_dir: str | Path | None = None,
        image: str = "image",
        label: str = "label",
        class_names: Sequence[str] | None = None,
    ) -> None:
        tfds = import_tfds()
        if isinstance(builder, str):
            builder = named_builder(tfds, builder, data_dir)
        features = builder.info.features
        for feature, kind in ((image, tfds.features.Image), (label, tfds.features.ClassLabel)):
            if feature not in features or not isinstance(features[feature], kind):
                raise InputError(
                    f"{builder.info.full_name}: has no {kind.__name__} {feature!r} (it has "
                    f"{listed(features)}); name the right one."
                )
        self.split = split
        self._builder = builder
        self._image, self._label = image, label
        self._rows: npt.NDArray[np.int64] | None = None
        self._read_index(class_names)

    @property
    def images(self) -> Collection[StoredImage]:
        """The images in order; each iteration reads the files of the data set again."""
        return _Images(self)

    def keys(self) -> list[str]:
        """Returns one identity for each image, for `sample_few_shot`."""
        return list(self._keys)

    def relabel(self, labels: npt.NDArray[np.int32], class_names: tuple[str, ...]) -> Self:
        """Returns the same images with other labels.

        Args:
            labels: `(images,)` int32 class ids, indices into `class_names`.
            class_names: One name a class; two classes may share a name, as in ImageNet.
        """
        other = copy.copy(self)
        other.labels, other.class_names = labels, class_names
        return other

    def _take_rows(self, rows: npt.NDArray[np.int64]) -> Self:
        taken = copy.copy(self)
        taken._rows = rows if self._rows is None else self._rows[rows]
        taken.labels = self.labels[rows]
        taken._keys = tuple(self._keys[row] for row in rows)
        return taken

    def _read_index(self, class_names: Sequence[str] | None) -> None:
        """Reads identities and labels, but no image."""
        label = self._label
        rows = self._dataset().map(lambda example: (example["tfds_id"], example[label]))
        index = list(rows.as_numpy_iterator())
        source = f"{self._builder.info.full_name}, split {self.split}"
        self.class_names, self.labels = renumber_classes(
            source,
            np.array([row_label for _, row_label in index], dtype=np.int64),
            self._builder.info.features[label].names,
            class_names,
        )
        self._keys = tuple(key.decode() for key, _ in index)

    def _dataset(self) -> Any:
        """Returns the split as a `tf.data.Dataset` in a fixed order, images as bytes."""
        import tensorflow_datasets as tfds

        try:
            return self._builder.as_dataset(
                split=self.split,
                shuffle_files=False,
                read_config=tfds.ReadConfig(
                    add_tfds_id=True, interleave_cycle_length=1, try_autocache=False
                ),
                # Other features, such as videos and masks, would cost time and memory.
                decoders=tfds.decode.PartialDecoding(
                    {self._image: True, self._label: True},
                    decoders={self._image: tfds.decode.SkipDecoding()},
                ),
            )
        # TFDS raises these for a data set that is not there, and for an unknown split.
        except (AssertionError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self._builder.info.full_name}, split {self.split}: cannot be read ({reason})."
            ) from error

    def _stored_images(self) -> Iterator[StoredImage]:
        examples = self._dataset().as_numpy_iterator()
        if self._rows is None:
            for example in examples:
                yield self._stored(example)
            return
        # The rows arrive in the order of the files, and are given in the order of `self._rows`.
        waiting: dict[int, StoredImage] = {}
        last_use = {row: position for position, row in enumerate(self._rows.tolist())}
        reading = enumerate(examples)
        for position, row in enumerate(self._rows.tolist()):
            while row not in waiting:
                number, example = next(reading)
                if number in last_use:
                    waiting[number] = self._stored(example)
            yield waiting[row]
            if last_use[row] == position:
                del waiting[row]

    def _stored(self, example: dict[str, Any]) -> StoredImage:
        data = example[self._image]
        return StoredImage(example["tfds_id"].decode(), functools.partial(bytes, data))


class _Images:
    """The images of a source, read again by each iteration."""

    def __init__(self, source: TFDSSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[StoredImage]:
        return self.source._stored_images()

    def __contains__(self, image: object) -> bool:
        return any(image == other for other in self)


def import_tfds() -> Any:
    """Imports tensorflow-datasets, or raises an error that says how to install it."""
    # Imported here, since it imports Keras, which other data does not need.
    from keras_cmm.clip.loading import hide_gpus_from_tensorflow

    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            "tensorflow-datasets cannot be imported "
            f"({error}); run `pip install 'keras-cmm[tfds]'`."
        ) from error
    hide_gpus_from_tensorflow()
    return tfds


def named_builder(tfds: Any, name: str, data_dir: str | Path | None) -> Any:
    """Returns the builder of a name, such as "eurosat/rgb", or raises an error."""
    try:
        return tfds.builder(name, data_dir=None if data_dir is None else str(data_dir))
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        reason = " ".join(str(error).split()[:30])
        raise InputError(
            f"{name!r}: tensorflow-datasets has no such data set ({reason})."
        ) from error
