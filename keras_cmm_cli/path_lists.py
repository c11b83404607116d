"""Lists of paths on stdin."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click


def given_paths(paths: Sequence[Path]) -> list[Path]:
    """Returns the paths that a command is given, with those on stdin in the place of `-`.

    Stdin holds one path a line, or paths that end in a zero byte, as `find -print0` prints them.

    Args:
        paths: The arguments of the command.

    Raises:
        UsageError: If a path is a URL, if stdin is empty, or if `-` is given twice.
    """
    if paths.count(Path("-")) > 1:
        raise click.UsageError("- stands for the paths on stdin; give it once.")
    found: list[Path] = []
    for path in paths:
        found += _on_stdin() if path == Path("-") else [path]
    for path in found:
        if str(path).startswith(("http:/", "https:/")):
            raise click.UsageError(f"{path}: is no file; download it first.")
    return found


def _on_stdin() -> list[Path]:
    content = sys.stdin.buffer.read()
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [Path(os.fsdecode(line)) for line in lines if line.strip()]
    if not paths:
        raise click.UsageError("stdin holds no path; write one a line.")
    return paths
