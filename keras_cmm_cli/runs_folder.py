"""A folder of benchmark runs, one JSON file each."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from keras_cmm_cli.outputs import write_json

Record = dict[str, Any]

_IDENTITY = ("dataset", "protocol", "backbone", "method", "shots", "seed")
_MARKS = ("base_to_new", "indices")

# File systems take 255 bytes, and a quoted character can have nine.
_MAX_FILE_NAME = 200


class RunsFolder:
    """Records in files `PROTOCOL/BACKBONE/DATASET/METHOD/shots_K-seed_S.json` of a folder.

    A file appears whole or not at all, so a process may be killed at any moment.

    Args:
        folder: The folder. It is made when the first record is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if folder.exists() and not folder.is_dir():
            raise click.ClickException(f"{folder}: is a file; give the name of a folder.")

    def path(self, record: Record) -> Path:
        """Returns the file of a record or of an identity."""
        parts = [_file_name(record[name]) for name in ("protocol", "backbone", "dataset", "method")]
        name = f"shots_{record['shots']}-seed_{record['seed']}"
        for mark in _MARKS:
            if record.get(mark):
                name += f"-{mark}"
        return self.folder.joinpath(*parts, f"{name}.json")

    def records_of(self, dataset: str, protocol: str, backbone: str) -> list[Record]:
        """Returns all records of a data set."""
        folder = self.folder.joinpath(*map(_file_name, (protocol, backbone, dataset)))
        return read_records(folder)[0] if folder.is_dir() else []

    def write(self, record: Record) -> None:
        """Writes a record to its file."""
        path = self.path(record)
        if path.is_file() and read_records(path)[1]:
            raise click.ClickException(
                f"{path}: is no record of a run; move it away or give another --output-dir."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(
                f"{path.parent}: cannot be made ({error.strerror or error})."
            ) from error
        write_json(path, record)


def read_records(path: Path) -> tuple[list[Record], list[Path]]:
    """Reads all records in a folder, at any depth, or in one file of records.

    Returns:
        The records in the order of their paths, each run once, and the JSON files without records.

    Raises:
        ClickException: If two records of one run have different results.
    """
    from keras_cmm_runtime.utils import refuse_special_file

    records: dict[tuple[Any, ...], tuple[Record, Path]] = {}
    others = []
    for file in _json_files(path) if path.is_dir() else [path]:
        refuse_special_file(file)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            content = None
        found = [_checked(each) for each in (content if isinstance(content, list) else [content])]
        if None in found:
            others.append(file)
        for record in filter(None, found):
            first, origin = records.setdefault(record_key(record), (record, file))
            # --output and --output-dir may have written the same record into one folder.
            if _results(first) != _results(record):
                raise click.ClickException(
                    f"{origin} and {file}: have different results of one run "
                    f"({', '.join(str(record[name]) for name in _IDENTITY)}); keep one of them."
                )
    return [record for record, _ in records.values()], others


def _json_files(folder: Path) -> list[Path]:
    """Returns the JSON files below a folder, sorted, however deep; `Path.rglob` recurses."""
    found: list[Path] = []
    waiting = [folder]
    try:
        while waiting:
            for entry in os.scandir(waiting.pop()):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.name.endswith(".json"):
                    found.append(Path(entry.path))
    except OSError as error:
        raise click.ClickException(
            f"{error.filename}: cannot be read ({error.strerror or error})."
        ) from error
    return sorted(found)


def record_key(record: Record) -> tuple[Any, ...]:
    """Returns a key that a record shares with its identity, and with no record of another run."""
    return (
        *(record[name] for name in _IDENTITY),
        *(bool(record.get(mark)) for mark in _MARKS),
    )


def warn_of_mixed_versions(where: str, versions: Iterable[Any]) -> None:
    """Warns if records have several versions of the package or several backends.

    `where` names their place, and `versions` has the field `versions` of each record or `None`.
    """
    known = [each for each in versions if isinstance(each, dict)]
    mixed = []
    for name in ("keras_cmm", "backend"):
        found = sorted({str(each[name]) for each in known if name in each})
        if len(found) > 1:
            mixed.append(f"{name} {' and '.join(found)}")
    if mixed:
        warnings.warn(
            f"{where}: records of {', of '.join(mixed)} stand side by side; their figures may "
            "differ for that reason alone.",
            stacklevel=2,
        )


def _results(record: Record) -> list[Any]:
    return [record.get(name) for name in ("top1", "base_top1", "new_top1")]


def _checked(record: Any) -> Record | None:
    """Returns `record` if it has the fields of a record, else `None`."""
    if not isinstance(record, dict):
        return None
    named = all(isinstance(record.get(key), str) for key in _IDENTITY[:4])
    numbered = all(type(record.get(key)) is int for key in _IDENTITY[4:])
    measures = ("base_top1", "new_top1") if record.get("base_to_new") else ("top1",)
    measured = all(isinstance(record.get(key), float | int) for key in measures)
    return record if named and numbered and measured else None


def _file_name(name: str) -> str:
    """Returns a file name for any system. Different names have different file names."""
    quoted = quote(name, safe="")
    if len(quoted) > _MAX_FILE_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()
        quoted = f"{quoted[: _MAX_FILE_NAME - len(digest) - 1]}-{digest}"
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted or "%"
