"""Image files below folders."""

import functools
import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_cmm.errors import InputError
from keras_cmm.utils import warn

# The formats that `read_image` reads. It raises an error for AVIF if Pillow is too old.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif"}
)
ARCHIVE_SUFFIXES = (".zip", ".tar")
LIST_SUFFIXES = (".csv", ".parquet")
COMPRESSED_SUFFIXES = (".gz", ".tgz", ".bz2", ".xz")

# `read_image` reads these if pillow-heif is installed.
_HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})

# Photographs and drawings in formats that `read_image` does not read.
_OTHER_SUFFIXES = frozenset(
    {*_HEIF_SUFFIXES, ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".svg", ".psd", ".tga"}
    | {".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw"}
)

# JPEG, PNG, GIF, BMP, TIFF, WebP, AVIF and HEIC.
_STARTS = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|.{4}ftyp(avi|hei)",
    re.DOTALL,
)


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Finds images without labels, such as those to predict.

    Args:
        paths: Image files and folders of images at any depth.

    Returns:
        The files as they were given, and the images of each folder, sorted by path.

    Raises:
        InputError: If a folder has no images, or a path is an archive or a list.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.jpg", "a.png", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     [image.name for image in find_images([folder])]
        ['a.png', 'b.jpg']
    """
    found: list[Path] = []
    others: list[Path] = []
    empty: list[Path] = []
    for path in map(Path, paths):
        if path.suffix.lower() in ARCHIVE_SUFFIXES + LIST_SUFFIXES + COMPRESSED_SUFFIXES:
            raise InputError(
                f"{path}: is an archive or a list; give image files or folders of images."
            )
        if not path.is_dir():
            found.append(path)
            continue
        inside, left_out = image_files(path)
        found += inside
        others += left_out
        if not inside:
            empty.append(path)
    warn_of_other_images(others)
    if empty:
        raise InputError(f"{empty[0]}: there are no images in it.")
    return found


def is_image_name(path: Path) -> bool:
    """Returns whether a file has the name of an image."""
    suffix = path.suffix.lower()
    return suffix in IMAGE_SUFFIXES or (suffix in _HEIF_SUFFIXES and _reads_heif())


def is_other_image_name(path: Path) -> bool:
    """Returns whether a file has the name of an image in a format that cannot be read."""
    return path.suffix.lower() in _OTHER_SUFFIXES and not is_image_name(path)


@functools.cache
def _reads_heif() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def is_file(path: Path) -> bool:
    """Returns whether a path is a file. A name that no file can have gives `False`."""
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def refuse_missing(paths: Sequence[Path], source: object, mend: str) -> None:
    """Raises an error if a listed image file is missing.

    Args:
        paths: The listed files.
        source: The list, for messages.
        mend: The end of the error: what the user should do.

    Raises:
        InputError: If a file is missing.
    """
    missing = [path for path in paths if not is_file(path)]
    if missing:
        more = f" and {len(missing) - 1} more of {len(paths)}" if len(missing) > 1 else ""
        raise InputError(
            f"{missing[0]}: is listed in {source}, but there is no such file{more}; {mend}."
        )


def sort_out(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Returns the files with the name of an image, and images that their names leave out."""
    files = list(files)
    return (
        [file for file in files if is_image_name(file)],
        [file for file in files if is_other_image_name(file) or _has_no_suffix(file)],
    )


def _has_no_suffix(path: Path) -> bool:
    """Returns whether the start of a file without a suffix is that of an image."""
    try:
        # Opening a pipe would wait for its other end.
        if path.suffix or not path.is_file():
            return False
        with path.open("rb") as file:
            return _STARTS.match(file.read(12)) is not None
    except OSError:
        return False


def warn_of_other_images(others: Sequence[Path]) -> None:
    """Warns once of all images that `sort_out` left out, so that none is lost silently."""
    unnamed = [path for path in others if not path.suffix]
    others = [path for path in others if path.suffix]
    if others:
        counts = Counter(path.suffix.lower() for path in others)
        found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        warn(
            f"{others[0]}: left out, with all images of formats that cannot be read ({found}); "
            "convert them to JPEG or PNG"
            + (", or run `pip install 'keras-cmm[heif]'`." if _HEIF_SUFFIXES & {*counts} else ".")
        )
    if unnamed:
        warn(
            f"{unnamed[0]}: left out, with all images whose names have no suffix ({len(unnamed)}); "
            "add .jpg or .png to their names."
        )


def visible_entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the sub-folders and the other entries that are not hidden, each sorted by name."""
    folders: list[Path] = []
    others: list[Path] = []
    try:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if not entry.name.startswith("."):
                (folders if entry.is_dir() else others).append(entry)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}).") from error
    return folders, others


def _identity(folder: Path) -> tuple[int, int]:
    """Returns what is the same for all paths of a folder; resolving deep paths takes minutes."""
    try:
        status = folder.stat()
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}).") from error
    return status.st_dev, status.st_ino


def image_files(folder: Path, outside: Iterable[Path] = ()) -> tuple[list[Path], list[Path]]:
    """Finds what has the name of an image, following links but entering no real folder twice.

    Broken links, pipes and folders without images are found too if their names are those of images,
    so that the reader of the images reports them.

    Args:
        folder: The folder.
        outside: Folders that a link must not lead back to.

    Returns:
        The paths, sorted, which all start with `folder`; and the images that `sort_out` left out.
    """
    images: list[Path] = []
    others: list[Path] = []
    folders: list[Path] = []
    seen = {_identity(path) for path in outside}
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        real = _identity(current)
        if real in seen:
            continue
        seen.add(real)
        inside, files = visible_entries(current)
        named, left_out = sort_out(files)
        images += named
        others += left_out
        folders += [entry for entry in inside if is_image_name(entry)]
        waiting += reversed(inside)
    # Each parent once: a deep folder has many.
    parents: set[Path] = set()
    for image in images:
        parent = image.parent
        while parent not in parents and parent != folder:
            parents.add(parent)
            parent = parent.parent
    images += [entry for entry in folders if entry not in parents]
    return sorted(images, key=lambda image: image.as_posix()), others
