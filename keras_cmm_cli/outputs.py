"""Outputs that are refused before the work starts, and appear whole or not at all."""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from keras_cmm_cli.run_file import read_run


def check_new_file(path: Path, overwrite: bool) -> None:
    """Refuses a file that cannot be written or must not be replaced.

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
    """Refuses outputs that would replace what is read, or each other.

    Args:
        outputs: The path of each option that names an output, or `None` where it is not given.
        inputs: What is read, or `None`.

    Raises:
        ClickException: If one would.
    """
    sources = {Path(path).resolve() for path in inputs if path is not None}
    places: dict[str, Path] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if place in sources:
            raise click.ClickException(f"{path}: is what is read; give another name to {option}.")
        for other, taken in places.items():
            if place == taken or place in taken.parents or taken in place.parents:
                raise click.ClickException(
                    f"{path}: {option} and {other} must not be one place, nor one lie in the "
                    f"other; give another name to {option}."
                )
        places[option] = place


def check_new_folder(path: Path, overwrite: bool) -> None:
    """Refuses a folder that holds anything but a model of `keras-cmm fit` that may be replaced.

    Raises:
        ClickException: If it does, or is a file, or its own folder does not exist or cannot be
            written to.
    """
    check_folder_of(path)
    if path.resolve() == Path.cwd():
        raise click.ClickException(f"{path}: is the current folder; give the name of a new one.")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise click.ClickException(f"{path}: is a file; give the name of a new folder.")
    run = read_run(path) or {}
    # Only what `fit` itself wrote may go; a user may have put more beside it.
    ours = run.get("files", [])
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in ours)
    if others:
        raise click.ClickException(
            f"{path}: holds something else ({others[0]!r}); give the name of a new folder."
        )
    if not overwrite:
        raise click.ClickException(f"{path}: holds a model; give --overwrite to replace it.")


def check_folder_of(path: Path) -> None:
    """Refuses what is to be written in a folder that does not exist or cannot be written to.

    Raises:
        ClickException: If it is such a folder.
    """
    folder = path.resolve().parent
    if not folder.is_dir():
        raise click.ClickException(f"{path}: the folder {folder} does not exist; make it.")
    # Tried, because permissions do not tell of read-only or special file systems.
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
    """Yields a temporary folder that takes the place of `path` if the block ends without an error.

    What `path` holds is for `check_new_folder` to judge; here it is replaced.

    Raises:
        ClickException: If it cannot be written.
    """
    place = path.resolve()  # What is written belongs where a link leads.
    stem = place.parent / f".keras-cmm-{uuid.uuid4().hex}"
    temporary, replaced = stem.with_suffix(".tmp"), stem.with_suffix(".old")
    try:
        temporary.mkdir()
        yield temporary
        if place.exists():
            place.rename(replaced)
        temporary.rename(place)
    except OSError as error:
        # Not `error.strerror`, which h5py fills with all that it knows of the file.
        reason = os.strerror(error.errno) if error.errno else error
        raise click.ClickException(f"{path}: cannot be written ({reason}).") from error
    finally:
        if replaced.exists() and not place.exists():
            replaced.rename(place)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, whole or not at all."""
    from keras_cmm.utils.files import replacing

    with replacing(path) as file:
        file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")
