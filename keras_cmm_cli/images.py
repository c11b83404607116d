"""Images given on the command line: which they are, and their embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.options import DTYPES
from keras_cmm_cli.run_file import read_run
from keras_cmm_cli.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm import CMMImageClassifier
    from keras_cmm.clip import EmbeddedImages, ImageEmbedder
    from keras_cmm.data import ImageList

# Those of `keras_cmm.data.ImageList.from_folder`.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


def images_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `IMAGES_DIR` and `--csv`, the arguments of `list_images`."""
    command = click.option(
        "--csv",
        "table",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="CSV file with the columns path,label, instead of class folders. Paths start from "
        "IMAGES_DIR, or from the file's own folder.",
    )(command)
    return click.argument(
        "images_dir",
        required=False,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
    )(command)


strict_option = click.option(
    "--strict", is_flag=True, help="Stop at an image that cannot be read, instead of skipping it."
)


def list_images(
    images_dir: Path | None, table: Path | None, class_names: Sequence[str] | None = None
) -> ImageList:
    """Lists the images of a folder or CSV file.

    Args:
        images_dir: The folder.
        table: The CSV file, or `None` if the folder has one folder a class.
        class_names: The classes of a trained model, or `None` for those that are found.
    """
    from keras_cmm.data import ImageList

    if table is not None:
        return ImageList.from_csv(table, root=images_dir, class_names=class_names)
    if images_dir is None:
        raise click.UsageError("Missing argument 'IMAGES_DIR' or option '--csv'.")
    images = ImageList.from_folder(images_dir, class_names=class_names)
    if {"train", "test"} <= set(images.class_names) or {"train", "val"} <= set(images.class_names):
        raise click.ClickException(
            f"{images_dir}: its folders look like splits, not classes; give {images_dir / 'train'}."
        )
    return images


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Lists files as they are given, and the images at any depth in folders, sorted by path."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in IMAGE_SUFFIXES
            and file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        if not inside:
            raise click.ClickException(f"{path}: there are no images in it.")
        found += inside
    return found


def embed_images(
    terminal: Terminal, embedder: ImageEmbedder, images: Iterable[Any], strict: bool
) -> EmbeddedImages:
    """Embeds images with a progress bar.

    Args:
        terminal: Where the progress is shown.
        embedder: The embedder.
        images: Files or arrays.
        strict: Refuse an image that cannot be read, instead of leaving it out with a warning.
    """
    with terminal.progress("embedding images") as progress:
        return embedder.embed(images, on_error="raise" if strict else "skip", progress=progress)


def find_broken(terminal: Terminal, images: ImageList, strict: bool) -> list[int]:
    """Opens every image; warns of those that cannot be read, or refuses them.

    Args:
        terminal: Where the progress is shown.
        images: The images.
        strict: Refuse an image that cannot be read, instead of warning.

    Returns:
        The numbers of the images that cannot be read.
    """
    from keras_cmm.clip import read_image
    from keras_cmm.errors import InputError

    def reason(path: Path) -> InputError | None:
        try:
            read_image(path)
        except InputError as error:
            return error
        return None

    broken = []
    with terminal.progress("checking images") as progress, ThreadPoolExecutor() as pool:
        for row, error in enumerate(pool.map(reason, images.paths)):
            progress(row + 1, len(images))
            if error is None:
                continue
            if strict:
                pool.shutdown(cancel_futures=True)
                raise error
            warnings.warn(f"left out: {error}", stacklevel=2)
            broken.append(row)
    return broken


def embed_list(
    terminal: Terminal, embedder: ImageEmbedder, images: ImageList, strict: bool
) -> tuple[npt.NDArray[np.float32], ImageList]:
    """Embeds listed images; returns the embeddings and the images that they belong to."""
    embeddings, rows = embed_images(terminal, embedder, images.paths, strict)
    if not len(rows):
        raise click.ClickException(f"{images.root}: none of its images can be read.")
    return embeddings, images.take(rows)


def load_classifier(model_dir: Path) -> CMMImageClassifier:
    """Loads what `keras-cmm fit` or `save_to_preset` wrote.

    Raises:
        InputError: If the folder holds no saved classifier.
        ClickException: If it holds one that cannot be loaded.
    """
    from keras_cmm import CMMImageClassifier, InputError

    # keras-hub loads in Keras's default precision, whatever the model was trained in.
    settings = (read_run(model_dir) or {}).get("hyperparameters", {})
    dtype = settings.get("dtype") if settings.get("dtype") in DTYPES else None
    try:
        return CMMImageClassifier.from_preset(str(model_dir), dtype=dtype)
    except InputError:
        raise
    # A damaged file can fail anywhere in keras-hub, Keras, h5py or json.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise click.ClickException(
            f"{model_dir}: the saved classifier cannot be loaded ({reason})."
        ) from error


def warn_of_short_classes(images: ImageList, short: dict[int, int], shots: object) -> None:
    """Warns of classes that have fewer images than asked for."""
    if short:
        names = [f"{images.class_names[label]!r} ({count})" for label, count in short.items()]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        warnings.warn(
            f"fewer than {shots} images, so all are taken: {', '.join(names[:10])}{more}.",
            stacklevel=2,
        )
