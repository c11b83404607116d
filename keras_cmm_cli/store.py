"""The store of image embeddings that several commands share."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from keras_cmm_runtime.embeddings import EmbeddingStore

HOME_VARIABLE = "KERAS_CMM_HOME"

store_option = click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder that keeps the embeddings of images, see `keras-cmm store`.  [default: "
    f"${HOME_VARIABLE}/embeddings, or embeddings in keras-cmm's folder of the user's caches]",
)


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--store` and `--no-store`, which give the command the argument of `open_store`."""

    @store_option
    @click.option("--no-store", is_flag=True, help="Embed every image anew and keep no embeddings.")
    @functools.wraps(command)
    def with_store(*args: Any, store: Path | None, no_store: bool, **kwargs: Any) -> Any:
        if no_store and store is not None:
            raise click.UsageError("--store and --no-store exclude each other; give one.")
        folder = None if no_store else store or default_folder()
        with advising_on_store(folder):
            return command(*args, store=folder, **kwargs)

    return with_store


@contextlib.contextmanager
def advising_on_store(folder: Path | None) -> Iterator[None]:
    """Adds to errors about a store what else may be given: users may not know of the default."""
    try:
        yield
    except click.ClickException as error:
        is_of_store = folder is not None and error.message.startswith(f"{folder}")
        if not is_of_store or " cannot be " not in error.message:
            raise
        advice = "; give --store DIR or --no-store."
        raise click.ClickException(error.message.rstrip(".") + advice) from error


def open_store(folder: Path | None) -> EmbeddingStore | None:
    """Opens the store of a folder that `store_options` gave; returns `None` without a folder."""
    if folder is None:
        return None
    from keras_cmm_runtime.embeddings import EmbeddingStore

    return EmbeddingStore(folder)


def default_folder() -> Path:
    """Returns the folder of the store if none is given."""
    from keras_cmm_runtime.utils import home_folder

    return home_folder() / "embeddings"
