"""The model that a command is given: a folder, or a name on the Hugging Face hub."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from keras_cmm_cli.folder_replacement import restore_folder

_HUB_SCHEME = "hf://"


class ModelPath(click.Path):
    """The folder of a model, brought back first if a command was killed while it replaced it.

    Args:
        files: Whether it may be a file too.
        hub: Whether it may be `hf://owner/name`, which is left for `fetched`.
    """

    def __init__(self, files: bool = False, hub: bool = True) -> None:
        super().__init__(exists=True, file_okay=files, path_type=Path)
        self._hub = hub

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Returns the path, or the name of a model on the hub; see `click.Path.convert`."""
        if self._hub and str(value).startswith(_HUB_SCHEME):
            return str(value)
        # Other errors of the path are for click to tell.
        with contextlib.suppress(OSError, RuntimeError):
            restore_folder(Path(value).resolve())
        return super().convert(value, param, ctx)
