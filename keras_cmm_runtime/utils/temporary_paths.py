"""Temporary files and folders beside what they will replace."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY_FILES = ".keras-cmm-*.tmp"
"""Pattern of the names of what is being written, or that a killed process left behind."""


@contextmanager
def temporary_in(folder: Path, make: Callable[[Path], Any]) -> Iterator[Path]:
    """Yields a new path in a folder, and removes it at the end of the block.

    It also removes what killed processes left in the folder. A lock tells those from paths that
    another process is writing to.

    Args:
        folder: An existing folder.
        make: Makes the path: `Path.touch` or `Path.mkdir`.
    """
    remove_abandoned(folder)
    path = folder / TEMPORARY_FILES.replace("*", uuid.uuid4().hex)
    lock = None
    try:
        make(path)
        lock = _lock(path, wait=True)
        # Another process may have taken it for abandoned before it was locked.
        while not path.exists():
            _unlock(lock)
            make(path)
            lock = _lock(path, wait=True)
        yield path
    finally:
        try:
            _remove(path)
        except KeyboardInterrupt:
            _remove(path)
            raise
        finally:
            _unlock(lock)


def remove_abandoned(folder: Path) -> None:
    """Removes the temporary files and folders in `folder` that no process holds any more."""
    for path in folder.glob(TEMPORARY_FILES):
        lock = _lock(path, wait=False)
        if lock is not None:
            _remove(path)
            _unlock(lock)


def _lock(path: Path, wait: bool) -> int | None:
    """Returns a file descriptor that holds the lock, or `None` if there is no lock to be had."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    # The system frees the lock when a process ends, even if it is killed.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another process has it, or the file system has no locks
        os.close(descriptor)
        return None
    return descriptor


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
