"""The interface of all sources of labelled images."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt


@runtime_checkable
class ImageSource(Protocol):
    """Labelled images, wherever they lie. Iteration gives `(key, image, label)`.

    `ImageList`, `ArchiveSource`, `HFSource` and `TFDSSource` are image sources, and so is any class
    with the same members. `open_images` finds the right one for a path. A source opens no image;
    `keras_cmm.clip.read_image` does.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_cmm.data import open_images
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat/1.png", "dog/1.png"):
        ...         Path(folder, name).parent.mkdir()
        ...         Path(folder, name).touch()
        ...     source = open_images(folder)
        >>> isinstance(source, ImageSource)
        True
        >>> [(key, label) for key, image, label in source]
        [('cat/1.png', 0), ('dog/1.png', 1)]
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class."""

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """`(images,)` class ids, indices into `class_names`, known before the images are read."""

    @property
    def images(self) -> Collection[Any]:
        """The images in order, each in a form that `keras_cmm.clip.read_image` takes."""

    def keys(self) -> list[str]:
        """Returns one identity for each image, for `sample_few_shot`, the same in each session."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[str, Any, int]]: ...

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Self:
        """Returns the images of the given numbers, in their order, with all classes kept."""
