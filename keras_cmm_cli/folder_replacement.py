"""Putting a new folder in the place of another, without a moment in which there is neither."""

import ctypes
import errno
import hashlib
import os
import shutil
import sys
from pathlib import Path

# The system or file system has no such call.
_UNABLE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


def replace_folder(new: Path, place: Path) -> None:
    """Moves the folder `new` to `place`. A folder that is there is removed, or swapped to `new`.

    Args:
        new: A folder beside `place`.
        place: The path that it gets.

    Raises:
        OSError: If it cannot be moved. Then `place` is as it was.
    """
    if not place.exists():
        new.rename(place)
    elif not exchange(new, place):
        old = _old(place)
        place.rename(old)
        try:
            new.rename(place)
        finally:
            restore_folder(place)


def restore_folder(place: Path) -> None:
    """Brings back the folder of a process that was killed in `replace_folder`, if there is one."""
    old = _old(place)
    if not old.is_dir():
        return
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(place)


def exchange(first: Path, second: Path) -> bool:
    """Exchanges two paths in one step; returns whether the system can do that.

    Raises:
        OSError: If the system can, but not for these paths.
    """
    names = os.fsencode(first), os.fsencode(second)
    if sys.platform == "linux":
        call, at = "renameat2", (-100,)  # AT_FDCWD
        arguments = (*at, names[0], *at, names[1], 2)  # RENAME_EXCHANGE
    elif sys.platform == "darwin":
        call, arguments = "renamex_np", (*names, 2)  # RENAME_SWAP
    else:
        return False
    function = getattr(ctypes.CDLL(None, use_errno=True), call, None)
    if function is None:
        return False
    if function(*arguments) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNABLE:
        return False
    raise OSError(number, os.strerror(number), os.fspath(second))


def _old(place: Path) -> Path:
    """Returns the name that the folder at `place` has while it is replaced."""
    digest = hashlib.sha256(os.fsencode(place.name)).hexdigest()[:32]
    return place.parent / f".keras-cmm-{digest}.old"
