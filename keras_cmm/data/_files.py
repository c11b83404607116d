"""Files that appear whole or not at all."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from keras_cmm.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file that takes the place of `path` when the block ends without an error.

    Args:
        path: The file to write; its folder must exist.

    Yields:
        The temporary file, in the same folder, open for binary writing.

    Raises:
        InputError: If `path` cannot be written.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file to write.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; make it first.")
    temporary = path.parent / f".keras-cmm-{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from error
    finally:
        temporary.unlink(missing_ok=True)
