"""What `keras-cmm embed` wrote, where a command takes it in the place of images."""

from __future__ import annotations

from pathlib import Path

from keras_cmm_cli.images import is_uri


def are_embeddings(path: Path | str) -> bool:
    """Returns whether a path or URI is a file or folder that `embed` wrote."""
    return are_in_parts(path) or (
        not is_uri(path) and Path(path).is_file() and Path(path).suffix == ".safetensors"
    )


def are_in_parts(path: Path | str) -> bool:
    """Returns whether a path or URI is a folder that `embed --engine` wrote."""
    if not is_uri(path) and not Path(path).is_dir():
        return False
    from keras_cmm_runtime.scale import is_shard_folder

    return is_shard_folder(str(path))
