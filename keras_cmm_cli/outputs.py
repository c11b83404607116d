"""Outputs: checked before the work starts, written whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.folder_replacement import replace_folder, restore_folder
from keras_cmm_cli.run_file import has_record, read_run

# How the files begin that commands write.
REPORT = b'<meta name="generator" content="keras-cmm">'
EMBEDDINGS = b'"format": "keras-cmm-embeddings/'
EXPLANATION = b"keras-cmm explanation"
FIGURE = b"keras-cmm figure"
_BEGINNING = 4096

# A model is a folder. Keras takes these names for those of files.
_FILE_SUFFIXES = (".h5", ".hdf5", ".keras")


def check_new_file(path: Path, overwrite: bool, mark: bytes = b"") -> None:
    """Raises an error if a file cannot be written or must not be replaced.

    Args:
        path: The file.
        overwrite: Whether a file that a command wrote may be replaced.
        mark: Bytes near the beginning of such a file: `REPORT`, `EMBEDDINGS`,
            `EXPLANATION` or `FIGURE`.

    Raises:
        ClickException: If the file exists and may not be replaced, or its folder does not exist or
            cannot be written to.
    """
    with _refused_paths(path):
        if path.is_dir():
            raise click.ClickException(f"{path}: is a folder; give the name of a file to write.")
        if path.exists() and not path.is_file():
            raise click.ClickException(
                f"{path}: is a device or a pipe; give the name of a file to write."
            )
        check_folder_of(path)
        if not path.exists():
            return
        if not overwrite:
            raise click.ClickException(f"{path}: exists; give --overwrite to replace it.")
        if path.stat().st_size and not _has_mark(path, mark):
            raise click.ClickException(
                f"{path}: was not written by this command; give the name of another file."
            )


def _has_mark(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return mark in file.read(_BEGINNING)


def check_apart(
    outputs: Mapping[str, Path | None], inputs: Iterable[str | Path | None] = ()
) -> None:
    """Raises an error if an output would replace an input or another output.

    Args:
        outputs: For each option that names an output its path, or `None` if it is not given.
        inputs: The paths that are read, or `None`.

    Raises:
        ClickException: If an output would.
    """
    sources = [Path(path) for path in inputs if path is not None]
    places: dict[str, Path] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        with _refused_paths(path):
            place = path.resolve()
            is_input = any(_is_same(place, source) for source in sources)
        if is_input:
            raise click.ClickException(f"{path}: is an input; give another name to {option}.")
        for other, taken in places.items():
            if place == taken or place in taken.parents or taken in place.parents:
                raise click.ClickException(
                    f"{path}: {option} and {other} must not be the same place, nor may one lie in "
                    f"the other; give another name to {option}."
                )
        places[option] = place


def _is_same(place: Path, source: Path) -> bool:
    """Returns whether both are one file, under names that may differ."""
    if place.exists() and source.exists():
        return place.samefile(source)
    return place == source.resolve()


def check_new_folder(path: Path, overwrite: bool, what: str = "model") -> None:
    """Raises an error unless a folder is new, empty, or holds what may be replaced.

    A folder may be replaced if a command wrote all files in it, and none has changed since.

    Args:
        path: The folder.
        overwrite: Whether such a folder may be replaced.
        what: The name of the content in messages.

    Raises:
        ClickException: If the folder holds something else, or its own folder does not exist or
            cannot be written to.
    """
    if path.suffix.lower() in _FILE_SUFFIXES:
        raise click.ClickException(
            f"{path}: a {what} is a folder of several files; give a name without {path.suffix}."
        )
    with _refused_paths(path):
        check_folder_of(path)
        restore_folder(path.resolve())
        if path.resolve() == Path.cwd():
            raise click.ClickException(
                f"{path}: is the current folder; give the name of a new one."
            )
        if os.path.ismount(path):
            raise click.ClickException(
                f"{path}: is where a disk is mounted; give the name of a new folder in it."
            )
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
        if not path.is_dir():
            raise click.ClickException(f"{path}: is a file; give the name of a new folder.")
        if overwrite:
            _refuse_foreign_files(path)
        elif not has_record(path):
            first = min(entry.name for entry in path.iterdir())
            raise click.ClickException(
                f"{path}: holds something else ({first!r}); give the name of a new folder."
            )
        else:
            raise click.ClickException(f"{path}: holds a {what}; give --overwrite to replace it.")


def _refuse_foreign_files(path: Path) -> None:
    """Raises an error if a folder holds what no command wrote, or what has changed since."""
    # The package imports Keras, which must wait for the choice of its backend.
    load_keras()
    from keras_cmm_runtime.utils import foreign_files, listed, read_digests

    others = foreign_files(path)
    if not others:
        return
    is_old = read_run(path) is not None and read_digests(path) is None
    if is_old:
        raise click.ClickException(
            f"{path}: is of an earlier version of keras-cmm, which did not record what it wrote; "
            "remove the folder yourself or give the name of a new one."
        )
    raise click.ClickException(
        f"{path}: holds something else ({listed(others)}), which no command wrote or which has "
        "changed since; move it away or give the name of a new folder."
    )


def check_folder_of(path: Path) -> None:
    """Raises an error if the folder of an output does not exist or cannot be written to.

    Raises:
        ClickException: If it does not or cannot.
    """
    folder = path.resolve().parent
    if not folder.is_dir():
        raise click.ClickException(f"{path}: the folder {folder} does not exist; make it.")
    # Permissions say nothing about read-only or special file systems, so a file is tried.
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.ClickException(
            f"{path}: the folder {folder} cannot be written to "
            f"({error.strerror or error}); give another one."
        ) from error


@contextmanager
def _refused_paths(path: Path) -> Iterator[None]:
    """Raises an error for a path that the system refuses, while it is looked at."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            f"{path}: cannot be used ({error.strerror or error}); give another name."
        ) from error
    except RuntimeError as error:  # Python 3.11 and 3.12, of a link that leads to itself
        if "loop" not in str(error):
            raise
        raise click.ClickException(
            f"{path}: is a link that leads to itself; give another name."
        ) from error


@contextmanager
def new_folder(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Yields a temporary folder that replaces `path` if the block ends without an error.

    `check_new_folder` must have decided that the content of `path` may be replaced. If that is no
    longer so at the end of the block, the new folder gets another name.

    Args:
        path: The folder.
        overwrite: What `check_new_folder` was given.

    Raises:
        ClickException: If it cannot be written.
    """
    from keras_cmm_runtime.utils import temporary_in

    place = path.resolve()  # A link stays, and its target is replaced.
    try:
        with temporary_in(place.parent, Path.mkdir) as temporary:
            yield temporary
            _refuse_late_files(path, overwrite, temporary)
            replace_folder(temporary, place)
    except OSError as error:
        # `error.strerror` of h5py is a long text about the file.
        reason = os.strerror(error.errno) if error.errno else error
        raise click.ClickException(f"{path}: cannot be written ({reason}).") from error


def _refuse_late_files(path: Path, overwrite: bool, new: Path) -> None:
    """Keeps `new` under another name if files came to `path` while it was written."""
    try:
        check_new_folder(path, overwrite)
    except click.ClickException as error:
        place, number = path.resolve(), 2
        while (other := place.with_name(f"{place.name}-{number}")).exists():
            number += 1
        replace_folder(new, other)
        raise click.ClickException(
            f"{error.message.rstrip('.')}. What was made is in {path.with_name(other.name)}."
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, whole or not at all."""
    from keras_cmm_runtime.utils import replacing

    with replacing(path) as file:
        file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")
