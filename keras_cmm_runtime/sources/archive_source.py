"""Images in zip and tar archives."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.sources.archive_members import TarMember, ZipMember, list_members
from keras_cmm_runtime.sources.class_names import (
    NAMES_FILE,
    name_numbers,
    number_classes,
    parse_class_names,
    read_class_names,
)
from keras_cmm_runtime.sources.folders import (
    is_clutter,
    is_image_name,
    is_left_out,
    warn_of_other_images,
    without_images,
)
from keras_cmm_runtime.sources.splits import choose_splits, find_splits
from keras_cmm_runtime.sources.stored_image import StoredImage
from keras_cmm_runtime.sources.stored_images import StoredImages
from keras_cmm_runtime.utils import listed, warn

_LABEL_KEYS = ("label", "cls", "class", "class_name")

# Path in the archive -> the file.
_Members = dict[str, ZipMember | TarMember]


@dataclass(frozen=True, eq=False)
class ArchiveSource(StoredImages):
    """Labelled images in a zip or tar archive, which is never unpacked.

    It is an `ImageSource`, and reads each image from the archive when it is needed.

    Example:
        >>> import tempfile, zipfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "photos.zip")
        ...     with zipfile.ZipFile(path, "w") as archive:
        ...         for name in ("photos/cat/1.png", "photos/dog/1.png"):
        ...             archive.writestr(name, b"...")
        ...     source = ArchiveSource.from_file(path)
        ...     data = source.images[0].read_bytes()
        >>> source.class_names, source.keys(), data
        (('cat', 'dog'), ['cat/1.png', 'dog/1.png'], b'...')
    """

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        class_names: Sequence[str] | None = None,
        split: str | None = None,
    ) -> Self:
        """Lists the images of an archive.

        An archive with `.cls` or `.json` files is a WebDataset: the class of `key.jpg` is the text
        of `key.cls`, or `label`, `cls`, `class` or `class_name` in `key.json`. If these classes are
        numbers, a file `classnames.txt` in the archive or beside it names them, one name a line,
        or else `class_names` does. Any other archive must have one folder for each class, perhaps
        inside a common folder. Its images have the same identities as in `ImageList.from_folder`.

        Args:
            path: A `.zip` file, or a `.tar` file without compression.
            class_names: Names and order of the classes, such as those of a trained model. Defaults
                to the names that are found, sorted.
            split: The split, such as "train", of an archive that has a folder for each.

        Returns:
            The images, sorted by path in the archive.

        Raises:
            InputError: If the file is no such archive, is encrypted or damaged, has no labelled
                images, has one class only (where `class_names` is not given), has classes outside
                `class_names`, or has splits and not `split`.
        """
        wanted = () if split is None else (split,)
        for name, images in cls.open_splits(path, wanted, class_names):
            if name is None and split is not None:
                raise InputError(f"{path}: has no splits; leave out `split`.")
            return images
        raise AssertionError  # `open_splits` yields at least once.

    @classmethod
    def open_splits(
        cls, path: str | Path, wanted: Sequence[str], class_names: Sequence[str] | None = None
    ) -> Iterator[tuple[str | None, Self]]:
        """Lists the images of some splits, as `from_file` does, reading the archive once.

        Args:
            path: As in `from_file`.
            wanted: The splits.
            class_names: As in `from_file`. Defaults to the classes of the first split.

        Yields:
            Those of the wanted splits that the archive has, with their images; or `None` with all
            images of an archive without splits.
        """
        path = Path(path)
        contents = _Contents.of(path)
        images = sorted(contents.images)
        inside = _without_common_folder(images, class_names or ())
        folders = {name.split("/")[0] for name in inside if "/" in name}
        found = find_splits(folders.difference(class_names or ()), path)
        if not found:
            yield None, cls._of(contents, images, inside, class_names)
            return
        for split, folder in choose_splits(path, found, wanted).items():
            rows = [row for row, name in enumerate(inside) if name.startswith(f"{folder}/")]
            short = [inside[row].removeprefix(f"{folder}/") for row in rows]
            if all(name.startswith(f"{folder}/") for name in short):  # as Kaggle's archives do
                short = [name.removeprefix(f"{folder}/") for name in short]
            source = cls._of(contents, [images[row] for row in rows], short, class_names)
            class_names = source.class_names
            yield split, source

    @classmethod
    def _of(
        cls,
        contents: "_Contents",
        images: Sequence[str],
        inside: Sequence[str],
        class_names: Sequence[str] | None,
    ) -> Self:
        """Takes images of an archive. `inside` are their paths below the common folder."""
        path = contents.path
        keys = {_webdataset_key(name) for name in images}
        if not keys.isdisjoint(map(_webdataset_key, contents.labels)):
            found = [_webdataset_label(path, name, contents.labels) for name in images]
            inside = images
        else:
            if any("/" not in name for name in inside):
                raise InputError(
                    f"{path}: images lie directly in it; each class needs its own folder of "
                    "images, or each image a .cls file."
                )
            found = [name.split("/")[0] for name in inside]
        numbers = [label for label in found if isinstance(label, int)]
        if len(numbers) == len(found):
            known, ids = name_numbers(path, numbers, contents.class_names(), class_names)
        else:
            known, ids = number_classes(path, [str(label) for label in found], class_names)
        stored = tuple(StoredImage(f"{path}/{name}", contents.images[name].read) for name in images)
        return cls(stored, ids, known, tuple(inside))


@dataclass
class _Contents:
    """The files of an archive that matter."""

    path: Path
    images: _Members = field(default_factory=dict)
    labels: _Members = field(default_factory=dict)
    names_files: _Members = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Self:
        """Lists an archive, and warns of what is left out of it."""
        contents = cls(path)
        others: list[Path] = []
        outside: list[str] = []
        repeated: list[str] = []
        for name, member in list_members(path):
            parts = name.split("/")
            if ".." in parts or name.startswith("/") or ":" in parts[0]:
                outside.append(name)
            elif any(map(is_clutter, parts)):
                continue
            elif (kind := contents._kind(parts[-1])) is not None:
                if name in kind:
                    repeated.append(name)
                kind[name] = member
            elif is_left_out(Path(parts[-1]), member.start):
                others.append(path / name)
        # Paths that lead out are written by attackers.
        if outside:
            warn(f"{path}: left out, since their paths lead out of the archive: {listed(outside)}.")
        if repeated:
            warn(
                f"{path}: has {listed(repeated)} more than once; the last file of each name counts."
            )
        if not contents.images:
            raise InputError(without_images(path, others))
        warn_of_other_images(others)
        return contents

    def _kind(self, file: str) -> _Members | None:
        if is_image_name(Path(file)):
            return self.images
        if PurePosixPath(file).suffix in (".cls", ".json"):
            return self.labels
        return self.names_files if file == NAMES_FILE else None

    def class_names(self) -> list[str] | None:
        """Returns the names of classes that are numbers, from a file in the archive or beside."""
        for name, member in self.names_files.items():
            return parse_class_names(f"{self.path}/{name}", member.read(), numbered=True)
        beside = self.path.parent / NAMES_FILE
        return read_class_names(beside, numbered=True) if beside.is_file() else None


def _without_common_folder(names: Sequence[str], class_names: Sequence[str]) -> list[str]:
    """Drops the folder around the class folders, if there is one."""
    split = [name.split("/") for name in names]
    while (
        len({parts[0] for parts in split}) == 1
        and split[0][0] not in class_names
        and all(len(parts) > 2 for parts in split)
    ):
        split = [parts[1:] for parts in split]
    return ["/".join(parts) for parts in split]


def _webdataset_key(name: str) -> str:
    """Returns what the files of one example share: their path up to the name's first dot."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.split('.')[0]}".removeprefix("/")


def _webdataset_label(path: Path, image: str, labels: _Members) -> int | str:
    """Returns the class of an image of a WebDataset, as a number or a name."""
    key = _webdataset_key(image)
    where = f"{path}/{key}"
    value: Any = None
    try:
        if f"{key}.cls" in labels:
            value = labels[f"{key}.cls"].read().decode().strip()
        elif f"{key}.json" in labels:
            content = json.loads(labels[f"{key}.json"].read())
            value = next((content[name] for name in _LABEL_KEYS if name in content), None)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: the file with its label cannot be read ({error}).") from error
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise InputError(
            f"{where}: has no label; expected {key}.cls, or {key}.json with a "
            f"{' or '.join(_LABEL_KEYS)}, with the name or number of the class."
        )
    return value
