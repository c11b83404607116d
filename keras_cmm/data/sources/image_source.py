"""What all sources of labelled images have in common."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt


@runtime_checkable
class ImageSource(Protocol):
    """Labelled images, wherever they lie: iterating gives `(id, image, label)`.

    `ImageList`, `ArchiveSource`, `HFSource` and `TFDSSource` are such sources; any class with the
    same members is one too. Images are only read when `keras_cmm.clip.read_image` reads them.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_cmm.data import ImageList
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat/1.png", "dog/1.png"):
        ...         Path(folder, name).parent.mkdir()
        ...         Path(folder, name).touch()
        ...     source = ImageList.from_folder(folder)
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
        """`(images,)` class ids, indices into `class_names`, known without opening the images."""

    @property
    def images(self) -> Collection[Any]:
        """The images in order, each something that `keras_cmm.clip.read_image` takes."""

    def keys(self) -> list[str]:
        """One identity an image, for `sample_few_shot`; the same for the same image next time."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[str, Any, int]]: ...

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Self:
        """Returns the images of the given numbers, in their order, with all classes kept."""
