"""Image files below a folder."""

from collections.abc import Iterable
from pathlib import Path

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})


def is_image_name(path: Path) -> bool:
    """Returns whether a file has the name of an image, whatever it is."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def visible_entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the sub-folders and the other entries that are not hidden, each sorted by name."""
    folders: list[Path] = []
    others: list[Path] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not entry.name.startswith("."):
            (folders if entry.is_dir() else others).append(entry)
    return folders, others


def image_files(folder: Path, outside: Iterable[Path] = ()) -> list[Path]:
    """Finds what has the name of an image, following links but entering no real folder twice.

    Links to nothing, pipes and folders without images that bear such a name are among them, so that
    whoever reads the images reports them.

    Args:
        folder: The folder.
        outside: Folders that a link must not lead back to.

    Returns:
        The paths, sorted, which all start with `folder`.
    """
    images: list[Path] = []
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
        images += [file for file in files if is_image_name(file)]
        folders += [entry for entry in inside if is_image_name(entry)]
        waiting += reversed(inside)
    parents = {parent for image in images for parent in image.parents}
    images += [entry for entry in folders if entry not in parents]
    return sorted(images, key=lambda image: image.as_posix())
