"""A folder of benchmark runs, one JSON file each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from keras_cmm_cli.outputs import write_json

Record = dict[str, Any]

_IDENTITY = ("dataset", "protocol", "backbone", "method", "shots", "seed")


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
        """Returns the file of a record, or of what identifies one."""
        parts = [_file_name(record[name]) for name in ("protocol", "backbone", "dataset", "method")]
        name = f"shots_{record['shots']}-seed_{record['seed']}"
        for mark in ("base_to_new", "indices"):
            if record.get(mark):
                name += f"-{mark}"
        return self.folder.joinpath(*parts, f"{name}.json")

    def read(self, wanted: Record) -> Record | None:
        """Returns the record of a run, or `None` if it has to be run."""
        try:
            record = _checked(json.loads(self.path(wanted).read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            return None
        same = record is not None and all(record.get(key) == wanted[key] for key in wanted)
        return record if same else None

    def write(self, record: Record) -> None:
        """Writes a record to its file."""
        path = self.path(record)
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
        The records in the order of their paths, and the JSON files that hold none.
    """
    records, others = [], []
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            content = None
        found = [_checked(each) for each in (content if isinstance(content, list) else [content])]
        if None in found:
            others.append(file)
        records += [record for record in found if record is not None]
    return records, others


def _checked(record: Any) -> Record | None:
    """Returns a record if it is one."""
    if not isinstance(record, dict):
        return None
    named = all(isinstance(record.get(key), str) for key in _IDENTITY[:4])
    numbered = all(type(record.get(key)) is int for key in _IDENTITY[4:])
    measures = ("base_top1", "new_top1") if record.get("base_to_new") else ("top1",)
    measured = all(isinstance(record.get(key), float | int) for key in measures)
    return record if named and numbered and measured else None


def _file_name(name: str) -> str:
    """Returns a name that is a file name on every system, and another for every other name."""
    quoted = quote(name, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted or "%"
