"""Images given on the command line, and their embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm.clip import EmbeddedImages, ImageEmbedder
    from keras_cmm.data import ImageSource


def images_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `IMAGES_DIR` and `--csv`, the arguments of `list_images`."""
    command = click.option(
        "--csv",
        "table",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="CSV or Parquet file with the columns path,label, instead of class folders. Paths "
        "start from IMAGES_DIR, or from the file's own folder.",
    )(command)
    return click.argument(
        "images_dir", required=False, type=click.Path(exists=True, path_type=Path)
    )(command)


def list_images(
    images_dir: Path | None, table: Path | None, class_names: Sequence[str] | None = None
) -> ImageSource:
    """Opens the images that `images_options` name.

    Args:
        images_dir: A path for `open_images`, or the folder of the images of `table`.
        table: A CSV or Parquet list of images, or `None`.
        class_names: The classes of a trained model, or `None` for those that are found.
    """
    from keras_cmm.data import open_images

    if table is not None:
        if images_dir is not None and not images_dir.is_dir():
            raise click.UsageError(f"{images_dir} is no folder; with --csv give a folder or none.")
        return open_images(table, root=images_dir or table.parent, class_names=class_names)
    if images_dir is None:
        raise click.UsageError("Missing argument 'IMAGES_DIR' or option '--csv'.")
    return open_images(images_dir, class_names=class_names)


def embed_images(
    terminal: Terminal, embedder: ImageEmbedder, images: Iterable[Any], strict: bool
) -> EmbeddedImages:
    """Embeds images and shows the progress.

    Args:
        terminal: Where the progress is shown.
        embedder: The embedder.
        images: Files or arrays.
        strict: Whether an image that cannot be read is an error. Otherwise it is left out, with a
            warning.
    """
    store = embedder.store
    taken_before = 0 if store is None else store.taken
    with terminal.progress("embedding images") as progress:
        embedded = embedder.embed(images, on_error="raise" if strict else "skip", progress=progress)
    if store is not None and store.taken > taken_before:
        terminal.note(
            f"{store.taken - taken_before:,} of {len(embedded.rows):,} embeddings taken from the "
            "store."
        )
    return embedded


def embed_list(
    terminal: Terminal, embedder: ImageEmbedder, images: ImageSource, strict: bool
) -> tuple[npt.NDArray[np.float32], ImageSource]:
    """Embeds listed images; returns the embeddings and their images."""
    embeddings, rows = embed_images(terminal, embedder, images.images, strict)
    if not len(rows):
        raise click.ClickException(f"none of the {len(images)} images can be read.")
    return embeddings, images.take(rows)


def find_broken(
    terminal: Terminal, embedder: ImageEmbedder, images: ImageSource, strict: bool
) -> list[int]:
    """Opens every image and warns of those that cannot be read.

    Args:
        terminal: Where the progress is shown.
        embedder: The embedder. Images whose embeddings are in its store are not opened.
        images: The images.
        strict: Whether an image that cannot be read is an error.

    Returns:
        The numbers of the images that cannot be read.
    """
    broken = []
    with terminal.progress("checking images") as progress:
        for row, error in enumerate(embedder.check(images.images)):
            progress(row + 1, len(images))
            if error is None:
                continue
            if strict:
                raise error
            warnings.warn(f"left out: {error}", stacklevel=2)
            broken.append(row)
    return broken
