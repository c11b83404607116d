"""The folder of a run: `job.json`, a Parquet file for each part, and `manifest.json` at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale.storage import Storage

FORMAT = "keras-cmm-shards/1"
JOB_FILE, MANIFEST_FILE, SHARDS = "job.json", "manifest.json", "shards"
SUFFIX = ".parquet"


def is_shard_folder(path: str) -> bool:
    """Returns whether a path or URI is a folder of a run, also of one that was broken off."""
    if "://" in path:
        storage = Storage(path)
        return storage.exists(JOB_FILE)
    try:
        job = json.loads(Path(path, JOB_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(job, dict) and job.get("format") == FORMAT


def read_manifest(storage: Storage) -> dict[str, Any]:
    """Reads what a run says of its files.

    Args:
        storage: The folder.

    Returns:
        What its `job.json` and its `manifest.json` hold.

    Raises:
        InputError: If there are none, or they are not of keras-cmm.
    """
    try:
        parts = [json.loads(storage.read(name)) for name in (JOB_FILE, MANIFEST_FILE)]
    except FileNotFoundError:
        raise InputError(
            f"{storage.uri}: has no {MANIFEST_FILE}, so no run has come to its end there; run the "
            "command that made it again."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{storage.uri}: cannot be read ({error}).") from error
    if any(not isinstance(part, dict) or part.get("format") != FORMAT for part in parts):
        raise InputError(f"{storage.uri}: is not of the format {FORMAT}.")
    manifest = parts[0] | parts[1]
    if any("/" in name or "\\" in name for name, *_ in manifest["shards"]):
        raise InputError(f"{storage.uri}: names of parts in {MANIFEST_FILE} lead to other folders.")
    return manifest
