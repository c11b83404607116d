"""Image files below a folder."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_cmm.errors import InputError

# Of the formats that `read_image` reads; it says so where an old Pillow has no AVIF.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif"}
)

# Of photographs and drawings in formats that it does not read.
_OTHER_SUFFIXES = frozenset(
    {".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".svg", ".psd", ".tga"}
    | {".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw"}
)

# JPEG, PNG, GIF, BMP, TIFF, WebP, AVIF and HEIC.
_STARTS = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|.{4}ftyp(avi|hei)",
    re.DOTALL,
)


def is_image_name(path: Path) -> bool:
    """Returns whether a file has the name of an image, whatever it is."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_other_image_name(path: Path) -> bool:
    """Returns whether a file has the name of an image of a format that is not read."""
    return path.suffix.lower() in _OTHER_SUFFIXES


def told_apart(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Returns the files with the name of an image, and images that are left out for their names."""
    files = list(files)
    return (
        [file for file in files if is_image_name(file)],
        [file for file in files if is_other_image_name(file) or _has_no_suffix(file)],
    )


def _has_no_suffix(path: Path) -> bool:
    """Returns whether a file is an image, by its start, without a suffix."""
    try:
        # A pipe would wait for its other end.
        if path.suffix or not path.is_file():
            return False
        with path.open("rb") as file:
            return _STARTS.match(file.read(12)) is not None
    except OSError:
        return False


def warn_of_other_images(others: Sequence[Path]) -> None:
    """Warns once of the others of `told_apart`, so that none vanish without a word."""
    unnamed = [path for path in others if not path.suffix]
    others = [path for path in others if path.suffix]
    if others:
        counts = Counter(path.suffix.lower() for path in others)
        found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        warnings.warn(
            f"{others[0]}: left out, with all images of formats that cannot be read ({found}); "
            "convert them to JPEG or PNG.",
            stacklevel=3,
        )
    if unnamed:
        warnings.warn(
            f"{unnamed[0]}: left out, with all images whose names have no suffix ({len(unnamed)}); "
            "add .jpg or .png to their names.",
            stacklevel=3,
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


def image_files(folder: Path, outside: Iterable[Path] = ()) -> tuple[list[Path], list[Path]]:
    """Finds what has the name of an image, following links but entering no real folder twice.

    Links to nothing, pipes and folders without images that bear such a name are among them, so that
    whoever reads the images reports them.

    Args:
        folder: The folder.
        outside: Folders that a link must not lead back to.

    Returns:
        The paths, sorted, which all start with `folder`; and the others of `told_apart`.
    """
    images: list[Path] = []
    others: list[Path] = []
    folders: list[Path] = []
    seen = {path.resolve() for path in outside}
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        real = current.resolve()
        if real in seen:
            continue
        seen.add(real)
        inside, files = visible_entries(current)
        named, left_out = told_apart(files)
        images += named
        others += left_out
        folders += [entry for entry in inside if is_image_name(entry)]
        waiting += reversed(inside)
    parents = {parent for image in images for parent in image.parents}
    images += [entry for entry in folders if entry not in parents]
    return sorted(images, key=lambda image: image.as_posix()), others
