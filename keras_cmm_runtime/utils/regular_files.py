"""Refusing what is no regular file before it is opened."""

import os
import stat
from pathlib import Path

from keras_cmm_runtime.errors import InputError


def refuse_special_file(path: str | os.PathLike[str], most: int | None = None) -> None:
    """Raises an error for a pipe, socket or device, and for a file that is too large.

    Opening a pipe waits for its other end, and a device may never end. A folder, and a path that
    does not exist or cannot be looked at, are left to the caller's own errors.

    Args:
        path: What is to be opened.
        most: The most bytes that it may have, or `None` for any number.

    Raises:
        InputError: If it is no regular file, or has more bytes.

    Example:
        >>> refuse_special_file(__file__)
        >>> refuse_special_file(os.devnull)  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        keras_cmm_runtime.errors.InputError: /dev/null: is a device or pipe, not a regular file.
    """
    name = os.fspath(path)
    name = name if name.isprintable() else repr(name)[1:-1]
    try:
        status = Path(path).stat()
    except (OSError, ValueError):  # ValueError: a NUL character in the name
        return
    if stat.S_ISDIR(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"{name}: is a device or pipe, not a regular file; save its content to a "
            "file and give that."
        )
    if most is not None and status.st_size > most:
        raise InputError(
            f"{name}: has {status.st_size:,} bytes; expected at most {most:,}, so it "
            "cannot be the right file."
        )


def refuse_special_files(folder: str | os.PathLike[str]) -> None:
    """Raises an error if a file of a model, in its folder or one below, is no regular file.

    Libraries open the files of a model by themselves.

    Args:
        folder: The folder. Anything else, such as a name on a hub, is left to the caller.

    Raises:
        InputError: If there is a pipe, socket or device.
    """
    for pattern in ("*", "*/*", "*/*/*"):
        for path in Path(folder).glob(pattern):
            refuse_special_file(path)
