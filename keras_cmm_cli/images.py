"""Images given on the command line, and their embeddings."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.options import is_given
from keras_cmm_cli.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm.clip import EmbeddedImages, ImageEmbedder
    from keras_cmm_runtime.sources import ImageSource


def images_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `IMAGES_DIR` and the options that make an `ImagesGiven`, as `given`."""

    @functools.wraps(command)
    def body(*args: Any, **kwargs: Any) -> Any:
        names = ("images_dir", "table", "image_column", "label_column")
        return command(*args, given=ImagesGiven(*(kwargs.pop(name) for name in names)), **kwargs)

    for option, kind in (("label", "labels"), ("image", "images or their paths")):
        body = click.option(
            f"--{option}-column",
            help=f"Column of {kind}, where IMAGES_DIR or --csv is a list or has Parquet files.",
        )(body)
    body = click.option(
        "--csv",
        "table",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="CSV or Parquet file with the columns path,label, instead of class folders. Paths "
        "start from IMAGES_DIR, or from the file's own folder.",
    )(body)
    return click.argument(
        "images_dir", required=False, type=PathOrURI(exists=True, path_type=Path)
    )(body)


def split_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds `--split`, the split to take where the images have splits."""
    return click.option(
        "--split",
        default=default,
        show_default=True,
        help="Images to take if IMAGES_DIR has a folder for each of train, val and test, or a list "
        "has a column of them.",
    )


class PathOrURI(click.Path):
    """A path, or a URI such as s3://bucket/folder, which stays a text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Checks a path, and takes a URI as it is."""
        return value if is_uri(value) else super().convert(value, param, ctx)


def is_uri(value: object) -> bool:
    """Returns whether a path of the command line is a URI."""
    return isinstance(value, str) and "://" in value


def refuse_uris(*paths: object) -> None:
    """Raises a usage error for a URI, where the command opens paths alone."""
    for path in filter(is_uri, paths):
        raise click.UsageError(
            f"{path}: is a URI, which `embed` and `predict` open with --engine local or ray; give "
            "a path."
        )


@dataclass(frozen=True)
class ImagesGiven:
    """The images that a command is given.

    Args:
        images_dir: A path for `open_images`, or the folder of the images of `table`.
        table: A CSV or Parquet list of images, or `None`.
        image_column: The column of images, or `None` for the usual one.
        label_column: The column of labels, or `None` for the usual one.
    """

    images_dir: Path | None
    table: Path | None
    image_column: str | None
    label_column: str | None

    @property
    def path(self) -> Path:
        """The list or the folder, for messages."""
        refuse_uris(self.images_dir)
        path = self.table or self.images_dir
        if path is None:
            raise click.UsageError("Missing argument 'IMAGES_DIR' or option '--csv'.")
        return path

    def open_splits(
        self, splits: Sequence[str], class_names: Sequence[str] | None = None
    ) -> dict[str | None, ImageSource]:
        """Opens the images of some splits; see `keras_cmm_runtime.sources.open_splits`."""
        from keras_cmm_runtime.sources import open_splits

        root = None
        if self.table is not None:
            if self.images_dir is not None and not self.images_dir.is_dir():
                raise click.UsageError(
                    f"{self.images_dir} is no folder; with --csv give a folder or none."
                )
            root = self.images_dir or self.table.parent
        return open_splits(
            self.path,
            splits,
            root=root,
            class_names=class_names,
            image=self.image_column,
            label=self.label_column,
        )

    def open(
        self, terminal: Terminal, split: str, class_names: Sequence[str] | None = None
    ) -> ImageSource:
        """Opens the images, or those of one split where there are splits.

        Args:
            terminal: Where it is said that a split was taken.
            split: The split.
            class_names: The classes of a trained model, or `None` for those that are found.
        """
        ((found, images),) = self.open_splits([split], class_names).items()
        if found is not None:
            terminal.note(f"{self.path}: only its split {found} is used, not the others.")
        elif is_given("split"):
            raise click.UsageError(f"{self.path}: has no splits; leave out --split.")
        return images


def embed_images(
    terminal: Terminal,
    embedder: ImageEmbedder,
    images: Iterable[Any],
    strict: bool,
    views: int = 0,
) -> EmbeddedImages:
    """Embeds images and shows the progress.

    Args:
        terminal: Where the progress is shown.
        embedder: The embedder.
        images: Files or arrays.
        strict: Whether an image that cannot be read is an error. Otherwise it is left out, with a
            warning.
        views: Augmented views of each image that are embedded too.
    """
    store = embedder.store
    taken_before = 0 if store is None else store.taken
    with terminal.progress("embedding images") as progress:
        embedded = embedder.embed(images, "raise" if strict else "skip", progress, views)
    if store is not None and store.taken > taken_before:
        needed = (views + 1) * len(embedded.rows)
        terminal.note(
            f"{store.taken - taken_before:,} of {needed:,} embeddings taken from the store."
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
    terminal: Terminal, embedder: ImageEmbedder, images: Collection[Any], strict: bool
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
        for row, error in enumerate(embedder.check(images)):
            progress(row + 1, len(images))
            if error is None:
                continue
            if strict:
                raise error
            warnings.warn(f"left out: {error}", stacklevel=2)
            broken.append(row)
    return broken
