"""The folder that a run writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale.read_shard import asking_again
from keras_cmm_runtime.scale.shard_format import FORMAT, JOB_FILE, MANIFEST_FILE
from keras_cmm_runtime.scale.shard_report import ShardReport
from keras_cmm_runtime.scale.storage import Storage


class ShardFolder:
    """The output of a run: `job.json`, a file for each part, and at the end `manifest.json`.

    `job.json` says what the files are made of. A later run goes on with the folder only if it makes
    the same of the same source. `manifest.json` names the parts of the last run, so files of
    earlier runs that are of no part any more do not count.

    Args:
        storage: where it lies.
        job: what the files depend on, as JSON holds it.

    Raises:
        InputError: If the folder is of another job, or cannot be written.
    """

    def __init__(self, storage: Storage, job: Mapping[str, Any]) -> None:
        self.storage = storage
        self.job = {"format": FORMAT, **json.loads(json.dumps(job))}
        if job.get("source") == storage.place:
            raise InputError(f"{storage.uri}: is the source; give another folder for the output.")
        try:
            self._claim()
        except OSError as error:
            raise InputError(
                f"{storage.uri}: cannot be written ({error.strerror or error})."
            ) from error

    def _claim(self) -> None:
        if not asking_again(lambda: self.storage.exists(JOB_FILE)):
            # Two runs of one job write the same.
            data = json.dumps(self.job, indent=1, sort_keys=True).encode()
            asking_again(lambda: self.storage.write(JOB_FILE, data))
        try:
            found = json.loads(asking_again(lambda: self.storage.read(JOB_FILE)))
        except ValueError:
            found = None
        if found == self.job:
            return
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise InputError(f"{self.storage.uri}: {JOB_FILE} in it is not of keras-cmm.")
        other = sorted(key for key in {*found, *self.job} if found.get(key) != self.job.get(key))
        raise InputError(
            f"{self.storage.uri}: holds the output of another job, of another {', '.join(other)}; "
            "give another folder."
        )

    def finish(self, report: ShardReport, **contents: Any) -> None:
        """Writes `manifest.json`.

        Args:
            report: What became of the parts.
            **contents: What else readers need.
        """
        manifest = {
            "format": FORMAT,
            "rows": report.rows,
            "errors": report.errors,
            "labels": dict(sorted(report.labels.items())),
            "shards": sorted(report.shards),
            "failed": dict(sorted(report.failed.items())),
            **contents,
        }
        data = json.dumps(manifest, ensure_ascii=False).encode()
        self.write(MANIFEST_FILE, data)

    def write(self, name: str, data: bytes) -> None:
        """Writes a file beside the parts.

        Raises:
            InputError: If it cannot be written.
        """
        try:
            asking_again(lambda: self.storage.write(name, data))
        except OSError as error:
            raise InputError(
                f"{self.storage.uri}: {name} cannot be written ({error.strerror or error}); run "
                "the command again, which keeps the parts."
            ) from error
