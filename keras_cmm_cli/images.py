"""Images given on the command line: which they are, and their embeddings."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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
    from keras_cmm.data import ImageList, ImageSource

_ARCHIVES = (".zip", ".tar")
_LISTS = (".csv", ".parquet")
_COMPRESSED = (".gz", ".tgz", ".bz2", ".xz")
_TRAIN_SPLITS = {"train", "training", "trainset"}
_OTHER_SPLITS = {"test", "testing", "testset", "val", "valid", "validation", "valset", "dev"}


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


strict_option = click.option(
    "--strict", is_flag=True, help="Stop at an image that cannot be read, instead of skipping it."
)


def list_images(
    images_dir: Path | None, table: Path | None, class_names: Sequence[str] | None = None
) -> ImageSource:
    """Lists the images of a folder, archive or list.

    Args:
        images_dir: The folder of images, or a zip, tar, Parquet or CSV file instead of it.
        table: A CSV or Parquet list of files in the folder, or `None` if it has one folder a class.
        class_names: The classes of a trained model, or `None` for those that are found.
    """
    from keras_cmm.data import ImageList

    if table is not None:
        if images_dir is not None and not images_dir.is_dir():
            raise click.UsageError(f"{images_dir} is no folder; with --csv give a folder or none.")
        return _read_table(table, images_dir, class_names)
    if images_dir is None:
        raise click.UsageError("Missing argument 'IMAGES_DIR' or option '--csv'.")
    if not images_dir.is_dir():
        return _open_file(images_dir, class_names)
    if class_names is not None:  # Else the splits would be refused as unknown classes.
        _refuse_splits(_subfolders(images_dir) - set(class_names), images_dir, "give one of them")
    images = ImageList.from_folder(images_dir, class_names=class_names)
    _refuse_splits(images.class_names, images_dir)
    return images


def read_class_names(path: Path) -> list[str]:
    """Reads a list of class names, one a line; empty lines are skipped."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be read ({error.strerror or error}).") from None
    except UnicodeDecodeError:
        raise click.ClickException(
            f"{path}: is not UTF-8 text; give one class name a line."
        ) from None
    names = [line.strip() for line in lines if line.strip()]
    repeated = [name for name, number in Counter(names).items() if number > 1]
    if repeated:
        raise click.ClickException(f"{path}: names {min(repeated)!r} twice; remove one.")
    if len(names) < 2:
        raise click.ClickException(
            f"{path}: lists {len(names)} class names, but a classifier needs two or more, one a "
            "line."
        )
    marked = [name for name in names if name.startswith("#")]
    if marked:
        warnings.warn(
            f"{path}: {marked[0]!r} is taken for the name of a class, as all lines that begin with "
            f"# ({len(marked)}); remove those that are none.",
            stacklevel=2,
        )
    return names


def _read_table(path: Path, root: Path | None, class_names: Sequence[str] | None) -> ImageList:
    from keras_cmm.data import ImageList

    if path.suffix.lower() == ".parquet":
        return ImageList.from_parquet(path, root=root, class_names=class_names)
    return ImageList.from_csv(path, root=root, class_names=class_names)


def _open_file(path: Path, class_names: Sequence[str] | None) -> ImageSource:
    from keras_cmm.data import ArchiveSource, HFSource
    from keras_cmm.data.sources.image_list import is_parquet_list

    suffix = path.suffix.lower()
    if suffix == ".csv" or (suffix == ".parquet" and is_parquet_list(path)):
        return _read_table(path, None, class_names)
    if suffix == ".parquet":
        return HFSource.from_parquet(path, class_names=class_names)
    if suffix in _ARCHIVES:
        images = ArchiveSource.from_file(path, class_names=class_names)
        _refuse_splits(images.class_names, path, "pack the folder of each split by itself")
        return images
    if suffix in _COMPRESSED:
        raise click.ClickException(f"{path}: is compressed; uncompress it first.")
    raise click.ClickException(
        f"{path}: is a file; give a folder of images, or a .zip, .tar, .csv or .parquet file."
    )


def _subfolders(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if path.is_dir()}
    except OSError:  # `ImageList.from_folder` says why.
        return set()


def _refuse_splits(names: Iterable[str], path: Path, mend: str | None = None) -> None:
    # Names that differ in nothing else: a train station and a test tube are classes.
    train: dict[frozenset[str], str] = {}
    others: set[frozenset[str]] = set()
    for name in sorted(names):
        words = frozenset(re.findall(r"[^\W\d_]+", name.casefold()))
        rest = words - _TRAIN_SPLITS - _OTHER_SPLITS
        if words & _TRAIN_SPLITS:
            train.setdefault(rest, name)
        elif words & _OTHER_SPLITS:
            others.add(rest)
    for rest, name in train.items():
        if rest in others:
            mend = mend or f"give {path / name}"
            raise click.ClickException(
                f"{path}: its folders look like splits, not classes; {mend}."
            )


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Lists files as they are given, and the images at any depth in folders, sorted by path."""
    from keras_cmm.data.sources.folders import image_files, warn_of_other_images

    found: list[Path] = []
    others: list[Path] = []
    empty: list[Path] = []
    for path in paths:
        if path.suffix.lower() in _ARCHIVES + _LISTS + _COMPRESSED:
            raise click.ClickException(
                f"{path}: is an archive or a list; give image files or folders of images."
            )
        if not path.is_dir():
            found.append(path)
            continue
        inside, left_out = image_files(path)
        found += inside
        others += left_out
        if not inside:
            empty.append(path)
    warn_of_other_images(others)
    if empty:
        raise click.ClickException(f"{empty[0]}: there are no images in it.")
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


def find_broken(
    terminal: Terminal, embedder: ImageEmbedder, images: ImageSource, strict: bool
) -> list[int]:
    """Opens every image; warns of those that cannot be read, or refuses them.

    Args:
        terminal: Where the progress is shown.
        embedder: What is to embed them. What its store has is not decoded again.
        images: The images.
        strict: Refuse an image that cannot be read, instead of warning.

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


def embed_list(
    terminal: Terminal, embedder: ImageEmbedder, images: ImageSource, strict: bool
) -> tuple[npt.NDArray[np.float32], ImageSource]:
    """Embeds listed images; returns the embeddings and the images that they belong to."""
    embeddings, rows = embed_images(terminal, embedder, images.images, strict)
    if not len(rows):
        raise click.ClickException(f"none of the {len(images)} images can be read.")
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
            f"{model_dir}: the saved classifier cannot be loaded ({reason}); copy its folder anew "
            "or train it again."
        ) from error


def warn_of_short_classes(images: ImageSource, short: dict[int, int], shots: object) -> None:
    """Warns of classes that have fewer images than asked for."""
    if short:
        names = [f"{images.class_names[label]!r} ({count})" for label, count in short.items()]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        warnings.warn(
            f"fewer than {shots} images, so all are taken: {', '.join(names[:10])}{more}.",
            stacklevel=2,
        )
