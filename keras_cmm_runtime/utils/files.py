"""Reading JSON and text files, and writing files that appear whole or not at all."""

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.regular_files import refuse_special_file
from keras_cmm_runtime.utils.temporary_paths import temporary_in

# The largest that are in use: vocabularies of 30 MB, and lists of 100,000 names or paths.
_MAX_JSON, MAX_LINES = 2**28, 2**23


def read_json_object(
    path: Path, mend: str = "the file is damaged", **options: Any
) -> dict[str, Any]:
    """Reads a JSON file that must hold an object.

    Args:
        path: The file.
        mend: The end of the error for a file of another form: what the user should do.
        **options: Arguments of `json.loads`.

    Returns:
        The object.

    Raises:
        InputError: If the file cannot be read or holds no JSON object.
    """
    refuse_special_file(path, _MAX_JSON)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), **options)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except InputError as error:  # from a function in `options`
        raise InputError(f"{path}: {error}") from None
    # ValueError: no JSON or no UTF-8. RecursionError: brackets nested without end.
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is not JSON; {mend}.") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not a JSON object; {mend}.")
    return content


def read_lines(path: Path, mend: str = "save it as UTF-8") -> list[str]:
    """Reads the lines of a text file, without the white space around each.

    Args:
        path: The file, UTF-8 with or without a byte order mark.
        mend: The end of the error for a file that is not UTF-8: what the user should do.

    Returns:
        The lines.

    Raises:
        InputError: If the file cannot be read.
    """
    refuse_special_file(path, MAX_LINES)
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; {mend}.") from None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file that replaces `path` when the block ends without an error.

    Args:
        path: The file to write. Its folder must exist.

    Yields:
        The temporary file, in the same folder, open for binary writing.

    Raises:
        InputError: If `path` cannot be written.
    """
    with _refusing_paths(path):
        folder = path.resolve().parent
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give the name of a file to write.")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is a device or a pipe; give the name of a file to write.")
        if not folder.is_dir():
            raise InputError(f"{path}: the folder {folder} does not exist; make it first.")
    try:
        with replacing_durably(path) as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from error


@contextmanager
def _refusing_paths(path: Path) -> Iterator[None]:
    """Raises an `InputError` for a path that the system refuses, while it is looked at.

    Such a path has a name that is too long, or is a link that leads to itself.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be used ({error.strerror or error}); give another name."
        ) from error
    except RuntimeError as error:  # Python 3.11 and 3.12
        if "loop" not in str(error):
            raise
        raise InputError(f"{path}: is a link that leads to itself; give another name.") from error


@contextmanager
def replacing_durably(path: Path) -> Iterator[BinaryIO]:
    """Does what `replacing` does, but raises `OSError`. The file survives a loss of power."""
    path = path.resolve()  # A link stays, and its target is replaced.
    with temporary_in(path.parent, Path.touch) as temporary:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk. Only POSIX offers this."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot do this for folders.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
