"""The pictures that come with the package."""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from keras_cmm_runtime.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoSet:
    """Small labelled pictures that come with the package, of people in roles and activities.

    They are drawings from Microsoft's Fluent Emoji (MIT licence), which the bundled preset never
    saw in training. `keras_cmm/assets/demo/README.md` explains their choice and split: one of the
    three people of each class (man, woman, person) appears in the test set only.

    Args:
        train_images: `(train, 64, 64, 3)` uint8 RGB, to draw few-shot samples from.
        train_labels: `(train,)` int32 class ids, indices into `class_names`.
        train_keys: One identity an image for `sample_few_shot`, such as
            "artist/flat-man-dark.png".
        test_images: `(test, 64, 64, 3)` uint8 RGB, the full test set.
        test_labels: `(test,)` int32 class ids.
        test_keys: One identity an image.
        class_names: One name a class, sorted.

    Example:
        >>> from keras_cmm.data import sample_few_shot
        >>> demo = DemoSet.load()
        >>> len(demo.class_names), demo.class_names[:3]
        (64, ('artist', 'construction worker', 'cook'))
        >>> sample = sample_few_shot(demo.train_labels, 16, seed=1, keys=demo.train_keys)
        >>> demo.train_images[sample.indices].shape
        (1024, 64, 64, 3)
    """

    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.int32]
    train_keys: tuple[str, ...]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int32]
    test_keys: tuple[str, ...]
    class_names: tuple[str, ...]

    @classmethod
    def load(cls) -> Self:
        """Reads the set from the installed package.

        Returns:
            The set, the same on every platform. Images are sorted by class, then by key.
        """
        folder = files("keras_cmm") / "assets" / "demo"
        index = json.loads((folder / "index.json").read_text("utf-8"))
        images: dict[str, list[npt.NDArray[np.uint8]]] = {"train": [], "test": []}
        labels: dict[str, list[int]] = {"train": [], "test": []}
        keys: dict[str, list[str]] = {"train": [], "test": []}
        for label, (name, parts) in enumerate(index["classes"].items()):
            with (folder / f"{name.replace(' ', '_')}.webp").open("rb") as file:
                tiles = _tiles(Image.open(file), index["size"])
            start = 0
            for part, drawings in parts.items():
                images[part].append(tiles[start : start + len(drawings)])
                labels[part] += [label] * len(drawings)
                keys[part] += [f"{name}/{drawing}.png" for drawing in drawings]
                start += len(drawings)
        fields: dict[str, Any] = {}
        for part in ("train", "test"):
            fields[f"{part}_images"] = np.concatenate(images[part])
            fields[f"{part}_labels"] = np.array(labels[part], dtype=np.int32)
            fields[f"{part}_keys"] = tuple(keys[part])
        return cls(class_names=tuple(index["classes"]), **fields)

    def export(self, folder: str | Path) -> None:
        """Writes the images as PNG files, one folder a class, below `train` and `test`.

        `open_images(folder / "train")` then lists the same images in the same order, with the same
        labels and keys, so the same seed draws the same few-shot sample.

        Args:
            folder: A new or empty folder.

        Raises:
            InputError: If `folder` is not empty, or cannot be written.

        Example:
            >>> import tempfile
            >>> from keras_cmm.data import open_images
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     DemoSet.load().export(folder)
            ...     images = open_images(f"{folder}/test")
            >>> images.keys()[0]
            'artist/flat-woman-dark.png'
        """
        folder = Path(folder)
        try:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise InputError(f"{folder}: is not an empty folder; give a new one to write to.")
            for part, images, keys in (
                ("train", self.train_images, self.train_keys),
                ("test", self.test_images, self.test_keys),
            ):
                for image, key in zip(images, keys, strict=True):
                    path = folder / part / key
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(image).save(path)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written ({error.strerror or error}).") from error


def _tiles(sheet: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """Cuts a sheet into pictures of `size` x `size` pixels, row by row."""
    rows, columns = sheet.height // size, sheet.width // size
    grid = np.asarray(sheet.convert("RGB")).reshape(rows, size, columns, size, 3)
    return grid.swapaxes(1, 2).reshape(-1, size, size, 3)
