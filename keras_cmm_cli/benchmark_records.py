"""The records of `keras-cmm benchmark`, in memory and on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_cmm_cli.outputs import check_new_file, write_json
from keras_cmm_cli.runs_folder import Record, RunsFolder, read_records, record_key

if TYPE_CHECKING:
    from keras_cmm_cli.benchmark_inputs import BenchmarkInput


class BenchmarkRecords:
    """All records so far, with those of earlier commands.

    Args:
        output: A JSON file for all records, or `None`.
        output_dir: A folder for one file a record, or `None`.
        resume: Start with the records in `output`.
        overwrite: Replace `output` if it exists.
    """

    def __init__(
        self, output: Path | None, output_dir: Path | None, resume: bool, overwrite: bool
    ) -> None:
        self._runs = None if output_dir is None else RunsFolder(output_dir)
        self._output = output
        self.all = _start(output, resume, overwrite)
        self._by_key = {record_key(record): record for record in self.all}

    def has(self, identity: Record) -> bool:
        """Returns whether there is a record of this identity."""
        return record_key(identity) in self._by_key

    def __getitem__(self, identity: Record) -> Record:
        return self._by_key[record_key(identity)]

    def take(self, data: BenchmarkInput, wanted: Sequence[Record], skip_existing: bool) -> None:
        """Takes the wanted records in the folder of runs, and writes those that it lacks to it.

        Without `skip_existing` the wanted records in the folder do not count: they are replaced.

        Records of other data of the same name are refused, such as of a file that was made anew.
        All runs are checked, because `aggregate` would average them.
        """
        asked = dict.fromkeys(map(record_key, wanted))
        stored = {}
        for dataset, digest in data.digests.items():
            name = (dataset, *data.name[1:])
            for record in [] if self._runs is None else self._runs.records_of(*name):
                if skip_existing or record_key(record) not in asked:
                    stored[record_key(record)] = record
            for record in [*self.all, *stored.values()]:
                if (record["dataset"], record["protocol"], record["backbone"]) != name:
                    continue
                # Records of earlier versions have no digest of their data.
                if record.get("data", digest) != digest:
                    raise _other(data, f"records of other data of the name {dataset!r}")
                if (
                    record_key(record) in asked
                    and "draw" in record
                    and record["draw"] != data.draw_digest(record["shots"], record["seed"])
                ):
                    raise _other(data, f"records of other --indices of {dataset!r}")
        for key in asked:
            if key in stored and key not in self._by_key:
                self._keep(stored[key])
            elif self._runs is not None and key in self._by_key and key not in stored:
                self._runs.write(self._by_key[key])

    def add(self, record: Record, data: BenchmarkInput) -> None:
        """Writes a new record with the digests of its data and draw, unless there is one."""
        record = record | data.marks(record)
        if self.has(record):
            return
        self._keep(record)
        if self._runs is not None:
            self._runs.write(record)
        self.write()

    def write(self) -> None:
        """Writes all records to `output`."""
        if self._output is not None:
            write_json(self._output, self.all)

    def _keep(self, record: Record) -> None:
        self.all.append(record)
        self._by_key[record_key(record)] = record


def _start(output: Path | None, resume: bool, overwrite: bool) -> list[Record]:
    """Returns the records to start with, and refuses to lose what `output` holds."""
    if resume and (overwrite or output is None):
        raise click.UsageError("--resume needs --output and excludes --overwrite.")
    if output is None:
        return []
    holds_something = output.is_file() and output.stat().st_size > 0
    if holds_something and not resume and not overwrite:
        raise click.ClickException(
            f"{output}: exists; give --resume to go on with it or --overwrite to replace it."
        )
    check_new_file(output, overwrite=True)
    records, others = read_records(output) if holds_something else ([], [])
    if others:
        raise click.ClickException(
            f"{output}: is not a list of benchmark records; give the name of another file."
        )
    return records if resume else []


def _other(data: BenchmarkInput, what: str) -> click.ClickException:
    return click.ClickException(
        f"{data.label}: there are {what}; give another --output-dir or --output, or replace all of "
        "them: by --no-skip-existing or --overwrite, with the methods, shots and seeds they have."
    )
