"""Image files below folders."""

import functools
import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import warn

# The formats that `read_image` reads. It raises an error for AVIF if Pillow is too old.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif"}
)
ARCHIVE_SUFFIXES = (".zip", ".tar")
LIST_SUFFIXES = (".csv", ".tsv", ".parquet")
COMPRESSED_SUFFIXES = (".gz", ".tgz", ".bz2", ".xz")

# `read_image` reads these if pillow-heif is installed.
_HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})

# Photographs and drawings in formats that `read_image` does not read.
_OTHER_SUFFIXES = frozenset(
    {*_HEIF_SUFFIXES, ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".svg", ".psd", ".tga"}
    | {".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw"}
)

# Common files beside images. They are not opened to see whether they are images, which takes time.
_NO_IMAGE_SUFFIXES = frozenset(
    {".txt", ".json", ".jsonl", ".xml", ".csv", ".tsv", ".yaml", ".yml", ".md", ".html", ".log"}
    | {".cls", ".npy", ".npz", ".pt", ".pth", ".mat", ".parquet", ".arrow", ".py", ".ipynb"}
    | {".zip", ".tar", ".gz", ".pdf", ".mp4", ".avi", ".mov", ".wav", ".mp3"}
)

# What systems and programs put beside the user's files, in lower case. Hidden names begin with a
# dot and are not listed: .ipynb_checkpoints, .DS_Store, .@__thumb, ._1.jpg.
_CLUTTER = frozenset(
    # macOS and Windows
    {"__macosx", "network trash folder", "temporary items", "icon\r"}
    | {"$recycle.bin", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini"}
    # Linux, and the storage of Synology and QNAP
    | {"lost+found", "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"}
    | {"__pycache__"}
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
    empty: list[str] = []
    for path in map(Path, paths):
        if path.suffix.lower() in ARCHIVE_SUFFIXES + LIST_SUFFIXES + COMPRESSED_SUFFIXES:
            raise InputError(
                f"{path}: is an archive or a list; give image files or folders of images."
            )
        if not path.is_dir():
            found.append(path)
            continue
        inside, left_out = image_files(path)
        if not inside:
            empty.append(without_images(path, left_out))
        found += inside
        others += left_out
    if empty:
        raise InputError(empty[0])
    warn_of_other_images(others)
    return found


def is_clutter(name: str) -> bool:
    """Returns whether a file or folder is hidden, or no work of the user's, such as `@eaDir`."""
    return name.startswith(".") or name.casefold() in _CLUTTER


def is_image_name(path: Path) -> bool:
    """Returns whether a file has the name of an image."""
    suffix = path.suffix.lower()
    return suffix in IMAGE_SUFFIXES or (suffix in _HEIF_SUFFIXES and _reads_heif())


def is_other_image_name(path: Path) -> bool:
    """Returns whether a file has the name of an image in a format that cannot be read."""
    return path.suffix.lower() in _OTHER_SUFFIXES and not is_image_name(path)


def is_any_image_name(name: str) -> bool:
    """Returns whether a file has the name of an image, in a format that can be read or not."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES | _OTHER_SUFFIXES


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
        [file for file in files if is_left_out(file, functools.partial(_start, file))],
    )


def is_left_out(path: Path, start: Callable[[], bytes]) -> bool:
    """Returns whether a file is an image, by its name or its content, that `find_images` skips.

    Args:
        path: The file.
        start: Returns the first 12 bytes of the file, or fewer.
    """
    if is_other_image_name(path):
        return True
    if is_image_name(path) or path.suffix.lower() in _NO_IMAGE_SUFFIXES:
        return False
    return _STARTS.match(start()) is not None


def _start(path: Path) -> bytes:
    try:
        # Opening a pipe would wait for its other end.
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(12)
    except OSError:
        return b""


def warn_of_other_images(others: Sequence[Path]) -> None:
    """Warns once of all images that `sort_out` left out, so that none is lost silently."""
    for first, kind in _kinds_left_out(others):
        warn(f"{first}: left out, with all {kind}.")


def without_images(place: Path, others: Sequence[Path]) -> str:
    """Returns the error for a place that has no images but those that `sort_out` left out."""
    kinds = [kind for _, kind in _kinds_left_out(others)]
    return f"{place}: has only {kinds[0]}." if kinds else f"{place}: there are no images in it."


def _kinds_left_out(others: Sequence[Path]) -> list[tuple[Path, str]]:
    """Returns for each reason the first of the images, and what they all are, with the mend."""
    kinds = []
    unread = [path for path in others if is_other_image_name(path)]
    unnamed = [path for path in others if not is_other_image_name(path)]
    if unread:
        counts = Counter(path.suffix.lower() for path in unread)
        found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        mend = "convert them to JPEG or PNG"
        if _HEIF_SUFFIXES & {*counts}:
            mend += ", or run `pip install 'keras-cmm[heif]'`"
        kinds.append((unread[0], f"images of formats that cannot be read ({found}); {mend}"))
    if unnamed:
        kinds.append(
            (
                unnamed[0],
                f"images whose names have no known suffix ({len(unnamed)}, such as "
                f"{unnamed[0].name!r}); add .jpg or .png to their names",
            )
        )
    return kinds


def see_through(folder: Path) -> Path:
    """Enters a folder that holds nothing but a folder of its own name, as Kaggle's archives make.

    Args:
        folder: A folder, such as "cars_train".

    Returns:
        The inner folder, such as "cars_train/cars_train", or `folder` itself.
    """
    inner = folder / folder.absolute().name
    # Looked for by name first: a listing of each folder would take long.
    if not inner.is_dir() or inner.is_symlink():
        return folder
    folders, files = visible_entries(folder)
    return see_through(inner) if folders == [inner] and not any(sort_out(files)) else folder


def visible_entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the sub-folders and the other entries that are no clutter, each sorted by name."""
    folders: list[Path] = []
    others: list[Path] = []
    try:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if not is_clutter(entry.name):
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


def listed_files(root: Path, names: Iterable[str]) -> Iterator[Path]:
    """Yields the files of a list, entering the folders that `see_through` enters.

    Args:
        root: The folder that the names start from.
        names: Paths with forward slashes, such as "cars_train/1.jpg", which may lie in
            "cars_train/cars_train/1.jpg".
    """
    real: dict[str, Path] = {"": see_through(root)}
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder.startswith("/"):
            yield Path(name)
            continue
        if folder not in real:
            real[folder] = real[""]
            for part in folder.split("/"):
                real[folder] = see_through(real[folder] / part)
        yield real[folder] / file
