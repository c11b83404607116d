"""`keras-cmm predict`: the most probable classes of images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_cmm_cli.model_engine import ModelGiven, model_options
from keras_cmm_cli.options import RATE, refuse_together
from keras_cmm_cli.result_table import FORMAT_HELP, to_csv
from keras_cmm_cli.saved_model import model_argument
from keras_cmm_cli.terminal import Terminal, visible, with_terminal

if TYPE_CHECKING:
    from rich.table import Table

Prediction = tuple[str, list[tuple[str, float]]]  # image, (class, probability), best first


@click.command(
    epilog="""\b
Examples:
  keras-cmm predict my_model new.jpg more_photos/
  keras-cmm predict my_model photos/ --top-k 1 --format csv > labels.csv
  keras-cmm predict my_model photos/ --reject 0.05
"""
)
@model_argument
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="IMAGES...",
    type=click.Path(exists=True, path_type=Path),
)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of classes for each image.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(("table", "json", "csv")),
    default="table",
    show_default=True,
    help=FORMAT_HELP,
)
@click.option(
    "--reject",
    type=RATE,
    metavar="RATE",
    help='Say "unknown" of an image that the model is less sure of than of all but this part of '
    "held-out training images, such as 0.05.",
)
@click.option(
    "--coverage",
    type=RATE,
    metavar="RATE",
    help="Name as many classes for each image as it takes to hold the right one with this "
    "probability, such as 0.9, instead of --top-k.",
)
@model_options
@with_terminal
def predict(
    terminal: Terminal,
    model: ModelGiven,
    paths: tuple[Path, ...],
    top_k: int,
    style: str,
    reject: float | None,
    coverage: float | None,
    strict: bool,
) -> None:
    """Predict the most probable classes of IMAGES, files or folders, with a model of `fit`.

    It runs on ONNX Runtime where the model has a classifier.onnx, as `fit` writes it, and otherwise
    on Keras. The answers are the same but for rounding.
    """
    import numpy as np

    from keras_cmm_runtime.sources import find_images

    if coverage is not None:
        refuse_together("coverage", "top_k")
    images = find_images(paths)
    engine = model.load(terminal)
    # Of no images: a rate that cannot be used is told before the images are read.
    engine.named(np.empty((0, len(engine.class_names)), "float32"), top_k, reject, coverage)
    logits, rows = engine.logits(terminal, images, strict)
    if not len(rows):
        raise click.ClickException("none of the images can be read.")
    named = engine.named(logits, top_k, reject, coverage)
    predictions = [
        (click.format_filename(images[row]), best)
        for row, best in zip(rows.tolist(), named, strict=True)
    ]
    if style == "json":
        terminal.result(_as_json(predictions))
    elif style == "csv":
        terminal.result(_as_csv(predictions))
    else:
        terminal.result(_as_table(predictions))


def _as_json(predictions: Sequence[Prediction]) -> str:
    content = [
        {
            "image": image,
            "predictions": [
                {"class": name, "probability": probability} for name, probability in best
            ],
        }
        for image, best in predictions
    ]
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def _as_csv(predictions: Sequence[Prediction]) -> str:
    rows = [
        (image, rank, name, f"{probability:.6f}")
        for image, best in predictions
        for rank, (name, probability) in enumerate(best, start=1)
    ]
    return to_csv(("image", "rank", "class", "probability"), rows)


def _as_table(predictions: Sequence[Prediction]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("probability", justify="right")
    for image, best in predictions:
        for rank, (name, probability) in enumerate(best):
            table.add_row(
                Text("" if rank else visible(image)),
                Text(visible(name), style="" if rank else "bold"),
                f"{100 * probability:.1f}%",
                end_section=rank == len(best) - 1 > 0,
            )
    return table
