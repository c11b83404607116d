"""Outputs: checked before the work starts, written whole or not at all."""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from keras_cmm_cli.run_file import read_run


def check_new_file(path: Path, overwrite: bool) -> None:
    """Raises an error if a file cannot be written or must not be replaced.

    Raises:
        ClickException: If the file exists and `overwrite` is not set, or its folder does not exist
            or cannot be written to.
    """
    if path.is_dir():
        raise click.ClickException(f"{path}: is a folder; give the name of a file to write.")
    if path.exists() and not path.is_file():
        raise click.ClickException(
            f"{path}: is a device or a pipe; give the name of a file to write."
        )
    check_folder_of(path)
    if path.exists() and not overwrite:
        raise click.ClickException(f"{path}: exists; give --overwrite to replace it.")


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
    sources = {Path(path).resolve() for path in inputs if path is not None}
    places: dict[str, Path] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if place in sources:
            raise click.ClickException(f"{path}: is an input; give another name to {option}.")
        for other, taken in places.items():
            if place == taken or place in taken.parents or taken in place.parents:
                raise click.ClickException(
                    f"{path}: {option} and {other} must not be the same place, nor may one lie in "
                    f"the other; give another name to {option}."
                )
        places[option] = place


def check_new_folder(
    path: Path, overwrite: bool, what: str = "model", files: Collection[str] | None = None
) -> None:
    """Raises an error unless a folder is new, empty, or holds what may be replaced.

    Args:
        path: The folder.
        overwrite: Whether the files below may be replaced.
        what: The name of the content in messages.
        files: The files that may be replaced, or `None` for those of a model of `fit`.

    Raises:
        ClickException: If the folder holds something else, or its own folder does not exist or
            cannot be written to.
    """
    check_folder_of(path)
    if path.resolve() == Path.cwd():
        raise click.ClickException(f"{path}: is the current folder; give the name of a new one.")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise click.ClickException(f"{path}: is a file; give the name of a new folder.")
    # A user may have added files; only those that a command wrote may be removed.
    ours = (read_run(path) or {}).get("files", []) if files is None else files
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in ours)
    if others:
        raise click.ClickException(
            f"{path}: holds something else ({others[0]!r}); give the name of a new folder."
        )
    if not overwrite:
        raise click.ClickException(f"{path}: holds a {what}; give --overwrite to replace it.")


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
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder that replaces `path` if the block ends without an error.

    `check_new_folder` must have decided that the content of `path` may be replaced.

    Raises:
        ClickException: If it cannot be written.
    """
    place = path.resolve()  # A link stays, and its target is replaced.
    stem = place.parent / f".keras-cmm-{uuid.uuid4().hex}"
    temporary, replaced = stem.with_suffix(".tmp"), stem.with_suffix(".old")
    try:
        temporary.mkdir()
        yield temporary
        if place.exists():
            place.rename(replaced)
        temporary.rename(place)
    except OSError as error:
        # `error.strerror` of h5py is a long text about the file.
        reason = os.strerror(error.errno) if error.errno else error
        raise click.ClickException(f"{path}: cannot be written ({reason}).") from error
    finally:
        if replaced.exists() and not place.exists():
            replaced.rename(place)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, whole or not at all."""
    from keras_cmm.utils import replacing

    with replacing(path) as file:
        file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")
