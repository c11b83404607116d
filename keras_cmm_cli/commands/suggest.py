"""`keras-cmm suggest`: which images to label next."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.images import embed_images
from keras_cmm_cli.model_path import ModelPath
from keras_cmm_cli.options import (
    batch_size_option,
    is_given,
    seed_option,
    strict_option,
)
from keras_cmm_cli.outputs import check_apart
from keras_cmm_cli.path_lists import given_paths
from keras_cmm_cli.prompts import prompt_options, read_prompts
from keras_cmm_cli.result_files import checked_style, write_result
from keras_cmm_cli.result_table import format_option, to_csv
from keras_cmm_cli.run_file import file_hash, read_run
from keras_cmm_cli.saved_model import fetched, load_classifier
from keras_cmm_cli.store import open_store, store_options
from keras_cmm_cli.terminal import Terminal, counted, visible, with_terminal

if TYPE_CHECKING:
    from rich.table import Table

    from keras_cmm import CMMImageClassifier

# `keras_cmm.labelling.STRATEGIES`, which a test compares: the help must not wait for Keras.
STRATEGIES = (
    *("cover", "balanced_cover", "margin", "entropy", "k_centre", "typiclust"),
    *("class_guided", "random"),
)
# How the files begin.
_MARKS = {"json": b'[\n {\n  "image": ', "csv": b"image,class,probability"}


class _Row(NamedTuple):
    """An image to label, and what it seems to show."""

    image: str
    class_name: str
    probability: float


@click.command(
    epilog="""\b
Examples:
  keras-cmm suggest photos/ --preset clip_vit_base_patch16 --classes fox,dog,cat -n 30
  keras-cmm suggest photos/ --model my_model -n 20 --output next.csv
"""
)
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="IMAGES...",
    type=click.Path(exists=True, allow_dash=True, path_type=Path),
)
@click.option("--model", type=ModelPath(), help="Model of `fit` on the labels that there are.")
@click.option("--preset", help="CLIP to begin with, when there are no labels; see fit --preset.")
@click.option(
    "--classes",
    metavar="FILE|NAMES",
    help="With --preset: a text file with all class names, one a line, or the names, separated by "
    "commas.",
)
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Number of images to name.",
)
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default=STRATEGIES[0],
    show_default=True,
    help="How the images are chosen; the documentation compares the strategies.",
)
@format_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="File to write the list to, .csv or .json, in the place of printing it.",
)
@prompt_options
@batch_size_option
@store_options
@seed_option
@strict_option
@click.option("--overwrite", is_flag=True, help="Replace a file --output of this command.")
@with_terminal
def suggest(
    terminal: Terminal,
    paths: tuple[Path, ...],
    model: Path | str | None,
    preset: str | None,
    classes: str | None,
    number: int,
    strategy: str,
    style: str,
    output: Path | None,
    templates: tuple[str, ...],
    descriptions: Path | None,
    batch_size: int | None,
    store: Path | None,
    seed: int,
    strict: bool,
    overwrite: bool,
) -> None:
    """Suggest which of IMAGES, files or folders without labels, to label next.

    Without labels, CLIP and the class names choose: give --preset and --classes. Once some images
    are labelled, train a model on them with `fit`, and give it by --model. Its own training images
    are left out. The list names the most wanted image first, with the class that it seems to be of.

    The IMAGES may be -, for a list of paths on stdin, one a line.
    """
    _check_sources(model, preset, classes)
    models = [model] if isinstance(model, Path) else []
    check_apart({"--output": output}, (*models, descriptions, *paths))
    style = checked_style(style, output, overwrite, _MARKS)
    from keras_cmm_runtime.sources import find_images

    images = find_images(given_paths(paths))
    with terminal.status("loading Keras"):
        load_keras()
    if model is not None:
        folder = fetched(model)
        with terminal.status("loading the model"):
            classifier = load_classifier(folder, batch_size, store)
        images = _without_training_images(terminal, images, folder)
    else:
        assert preset is not None
        assert classes is not None
        with terminal.status("loading CLIP"):
            classifier = _new_classifier(preset, classes, templates, descriptions)
        classifier.embedder.batch_size = batch_size
        classifier.embedder.store = open_store(store)
    from keras_cmm.labelling import suggestions

    embeddings, rows = embed_images(terminal, classifier.embedder, images, strict)
    if not len(rows):
        raise click.ClickException("none of the images can be read.")
    found = [
        _Row(click.format_filename(images[rows[each.row]]), each.class_name, each.probability)
        for each in suggestions(classifier, embeddings, number, strategy, seed)
    ]
    forms: dict[str, Callable[..., Any]] = {"json": _as_json, "csv": _as_csv, "table": _as_table}
    result = forms[style](found)
    if output is None:
        terminal.result(result)
        return
    write_result(output, result)
    terminal.note(f"{output}: {counted(len(found), 'image', 'images')}.")


def _check_sources(model: object, preset: str | None, classes: str | None) -> None:
    """Refuses what is neither a model alone nor a preset and its classes."""
    others = {"preset": "preset", "classes": "classes", "templates": "template"}
    others["descriptions"] = "descriptions"
    if model is not None:
        for parameter, option in others.items():
            if is_given(parameter):
                raise click.UsageError(f"--model and --{option} exclude each other; give one.")
    elif preset is None or classes is None:
        raise click.UsageError(
            "give --model, or --preset and --classes where nothing is labelled yet."
        )


def _new_classifier(
    preset: str, classes: str, templates: tuple[str, ...], descriptions: Path | None
) -> CMMImageClassifier:
    """Returns a classifier that knows the class names alone."""
    from keras_cmm import CMMImageClassifier
    from keras_cmm.data import read_class_names

    if Path(classes).is_file():
        names = read_class_names(Path(classes))
    else:
        names = [name.strip() for name in classes.split(",") if name.strip()]
    if len(names) < 2:
        raise click.UsageError(
            f"--classes must be a file of two names or more, or names separated by commas. "
            f"Received: {classes!r}"
        )
    prompts = read_prompts(templates, descriptions, names)
    with warnings.catch_warnings():
        # The warning recommends an argument that only Python has.
        warnings.filterwarnings("ignore", ".*makes a new classifier of the saved one's classes")
        return CMMImageClassifier.from_preset(preset, class_names=names, **prompts)


def _without_training_images(terminal: Terminal, images: Sequence[Path], model: Path) -> list[Path]:
    """Returns the images that the model was not trained on."""
    from keras_cmm_runtime import InputError

    known = {image["sha256"] for image in (read_run(model) or {}).get("images", [])}

    def is_new(image: Path) -> bool:
        try:
            return file_hash(image) not in known
        except InputError:  # told when the image is embedded
            return True

    left = [image for image in images if not known or is_new(image)]
    if len(left) < len(images):
        number = counted(len(images) - len(left), "image", "images")
        terminal.note(f"Left out: {number} that the model was trained on.")
    if not left:
        raise click.ClickException("the model was trained on all of these images; give others.")
    return left


def _as_json(found: Sequence[_Row]) -> str:
    content = [
        {"image": each.image, "class": each.class_name, "probability": each.probability}
        for each in found
    ]
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def _as_csv(found: Sequence[_Row]) -> str:
    rows = [(each.image, each.class_name, f"{each.probability:.6f}") for each in found]
    return to_csv(("image", "class", "probability"), rows)


def _as_table(found: Sequence[_Row]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("image to label", overflow="fold")
    table.add_column("seems to be", overflow="fold")
    table.add_column("probability", justify="right")
    for each in found:
        table.add_row(
            Text(visible(each.image)),
            Text(visible(each.class_name)),
            f"{100 * each.probability:.1f}%",
        )
    return table
