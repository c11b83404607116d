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
_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("failed", "labels"), dict),
    **dict.fromkeys(("rows", "errors"), int),
    "shards": list,
}
_OF_EMBEDDINGS: dict[str, Any] = {
    **dict.fromkeys(("encoder", "class_names"), dict),
    "dim": int,
    "model": str,
    "test_fraction": (int, float),
}


def is_shard_folder(path: str) -> bool:
    """Returns whether a path or URI is a folder of a run, also of one that was broken off.

    Raises:
        InputError: If it is a URI that cannot be asked for.
    """
    if "://" in path:
        try:
            return Storage(path).exists(JOB_FILE)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
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
    manifest: dict[str, Any] = parts[0] | parts[1]
    fields = _FIELDS | (_OF_EMBEDDINGS if manifest.get("kind") == "embeddings" else {})
    for name, kind in fields.items():
        if not isinstance(manifest.get(name), kind):
            raise InputError(
                f"{storage.uri}: {name!r} in {JOB_FILE} or {MANIFEST_FILE} is damaged; run the "
                "command that made it again."
            )
    try:
        names = [str(name) for name, _rows, _errors in manifest["shards"]]
    except (TypeError, ValueError):
        names = [""]
    if len({*names}) < len(names) or "" in names:
        raise InputError(f"{storage.uri}: the list of parts in {MANIFEST_FILE} is damaged.")
    if any("/" in name or "\\" in name for name in [*names, str(manifest.get("texts"))]):
        raise InputError(f"{storage.uri}: names of parts in {MANIFEST_FILE} lead to other folders.")
    return manifest
