"""Checks of the settings in the config files of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_cmm_runtime.errors import InputError


def check_choice(path: Path, name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raises an `InputError` that names the file `path` if `value` is not among the choices."""
    if value not in choices:
        expected = repr(choices[0]) if len(choices) == 1 else f"one of {choices}"
        raise InputError(f"{path}: `{name}` must be {expected}. Received: {name}={value!r}")


def check_sizes(path: Path, sizes: Mapping[str, Any]) -> None:
    """Raises an `InputError` that names the file `path` if a size is not an int >= 1."""
    for name, size in sizes.items():
        if type(size) is not int or size < 1:  # `True` is an int too
            raise InputError(f"{path}: `{name}` must be an int >= 1. Received: {name}={size!r}")
