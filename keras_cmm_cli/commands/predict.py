"""`keras-cmm predict`: the most probable classes of images."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from keras_cmm_cli.embeddings import are_in_parts
from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.images import PathOrURI, refuse_uris
from keras_cmm_cli.model_engine import ModelGiven, model_options
from keras_cmm_cli.options import RATE, is_given, refuse_together
from keras_cmm_cli.outputs import check_apart, check_new_file, check_new_folder
from keras_cmm_cli.path_lists import given_paths
from keras_cmm_cli.result_table import format_option, to_csv
from keras_cmm_cli.saved_model import load_classifier, model_argument
from keras_cmm_cli.sorted_images import sort_images
from keras_cmm_cli.terminal import Terminal, counted, visible, visible_lines, with_terminal
from keras_cmm_cli.workers import (
    ENGINES,
    WorkersGiven,
    refuse_with_parts,
    tell_report,
    workers_options,
)

if TYPE_CHECKING:
    from rich.table import Table


class Prediction(NamedTuple):
    """An image, its classes with their probabilities, best first, or why it cannot be read."""

    image: str
    best: list[tuple[str, float]]
    error: str


@click.command(
    epilog="""\b
Examples:
  keras-cmm predict my_model new.jpg more_photos/
  keras-cmm predict my_model photos/ --top-k 1 --output labels.csv
  keras-cmm predict my_model photos/ --sort-into sorted/
  keras-cmm predict my_model photos/ --reject 0.05
  find photos/ -newer labels.csv | keras-cmm predict my_model -
"""
)
@model_argument
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="IMAGES...",
    type=PathOrURI(exists=True, allow_dash=True, path_type=Path),
)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of classes for each image.",
)
@format_option
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
@click.option(
    "--output",
    type=PathOrURI(path_type=Path),
    help="File to write the predictions to, .csv or .json, in the place of printing them.",
)
@click.option(
    "--sort-into",
    type=click.Path(path_type=Path),
    help="Folder to make, with a copy of each image in the folder of its most probable class.",
)
@click.option("--link", is_flag=True, help="Put symbolic links into --sort-into, not copies.")
@click.option("--overwrite", is_flag=True, help="Replace a file --output of this command.")
@workers_options
@functools.partial(
    model_options,
    further_engines=ENGINES,
    further_help=" local and ray classify IMAGES in parts, by processes of this machine or by Ray: "
    "folders, lists, tar and Parquet files, and URIs such as s3://bucket/photos. --output is then "
    "a folder of Parquet files, and a run that was broken off goes on where it was.",
)
@with_terminal
def predict(
    terminal: Terminal,
    model: ModelGiven,
    paths: tuple[Path, ...],
    top_k: int,
    style: str,
    reject: float | None,
    coverage: float | None,
    output: Path | None,
    sort_into: Path | None,
    link: bool,
    overwrite: bool,
    strict: bool,
    workers: WorkersGiven,
) -> None:
    """Predict the most probable classes of IMAGES, files or folders, with a model of `fit`.

    An image that cannot be read has a row with the reason. The IMAGES may be -, for a list of paths
    on stdin, one a line. They may also be a folder of embeddings that `embed --engine` wrote. Then
    Keras classifies these, and --output is a folder of Parquet files.

    It runs on ONNX Runtime where the model has a classifier.onnx, as `fit` writes it, and otherwise
    on Keras. The answers are the same but for rounding.
    """
    if model.engine in ENGINES:
        _predict_in_parts(terminal, model, paths, top_k, output, workers)
        return
    workers.refuse()
    if coverage is not None:
        refuse_together("coverage", "top_k")
    if len(paths) == 1 and are_in_parts(paths[0]):
        rates = {"top_k": top_k, "reject": reject, "coverage": coverage}
        _predict_embeddings(terminal, model, paths[0], rates, output)
        return
    refuse_uris(*paths)
    if link and sort_into is None:
        raise click.UsageError("--link needs --sort-into; give both.")
    refuse_uris(output)
    check_apart({"--output": output, "--sort-into": sort_into}, (model.folder, *paths))
    if output is not None:
        style = style if is_given("style") else output.suffix.lower().removeprefix(".")
        if style not in _MARKS:
            raise click.UsageError(
                f"{output}: --output takes a name that ends in .csv or .json, or --format csv or "
                "json."
            )
        check_new_file(output, overwrite, _MARKS[style])
    if sort_into is not None:
        check_new_folder(sort_into, overwrite=False, what="set of sorted images")
    import numpy as np

    from keras_cmm_runtime.sources import find_images

    images = find_images(given_paths(paths))
    engine = model.load(terminal)
    # Of no images: a rate that cannot be used is told before the images are read.
    engine.named(np.empty((0, len(engine.class_names)), "float32"), top_k, reject, coverage)
    logits, rows = engine.logits(terminal, images, strict)
    if not len(rows):
        raise click.ClickException("none of the images can be read.")
    named = engine.named(logits, top_k, reject, coverage)
    read = dict(zip(rows.tolist(), named, strict=True))
    predictions = [
        Prediction(
            click.format_filename(image),
            read.get(row, []),
            "" if row in read else _reason(image),
        )
        for row, image in enumerate(images)
    ]
    if sort_into is not None:
        best = [classes[0][0] for classes in named]
        sort_images(sort_into, [images[row] for row in rows.tolist()], best, link)
        folders = counted(len(set(best)), "folder", "folders")
        terminal.note(f"{sort_into}: {counted(len(best), 'image', 'images')} in {folders}.")
    result = _FORMATS[style](predictions)
    if output is None:
        terminal.result(result)
        return
    from keras_cmm_runtime.utils import replacing

    with replacing(output) as file:
        file.write(f"{visible_lines(result)}\n".encode())
    terminal.note(f"{output}: {counted(len(predictions), 'image', 'images')}.")


def _predict_in_parts(
    terminal: Terminal,
    model: ModelGiven,
    paths: tuple[Path | str, ...],
    top_k: int,
    output: Path | str | None,
    workers: WorkersGiven,
) -> None:
    """Runs `--engine local` and `--engine ray`."""
    refuse_with_parts(
        *("reject", "coverage", "format", "sort_into", "link", "overwrite", "strict"),
        *("views", "store", "no_store"),
    )
    if len(paths) != 1:
        raise click.UsageError(f"--engine {model.engine} takes one IMAGES: a folder or a file.")
    if output is None:
        raise click.UsageError(f"--engine {model.engine} needs --output, a folder or a URI.")
    from keras_cmm_runtime.scale import predict_shards

    with terminal.progress("classifying parts") as progress:
        report = predict_shards(
            str(model.folder),
            str(paths[0]),
            str(output),
            top_k=top_k,
            batch_size=model.batch_size or 32,
            shard_size=workers.shard_size,
            options=workers.options(model.engine),
            progress=lambda report: progress(len(report.shards), None),
        )
    tell_report(terminal, str(output), report)


def _predict_embeddings(
    terminal: Terminal,
    model: ModelGiven,
    path: Path | str,
    rates: dict[str, Any],
    output: Path | str | None,
) -> None:
    """Classifies a folder of embeddings."""
    for name in ("format", "sort_into", "link", "overwrite", "strict", "views", "store"):
        if is_given(name):
            raise click.UsageError(
                f"--{name.replace('_', '-')} needs images, and {path} holds embeddings."
            )
    if output is None:
        raise click.UsageError(f"{path}: holds embeddings; give --output, a folder or a URI.")
    with terminal.status("loading Keras"):
        load_keras()
    from keras_cmm.scale import predict_embedding_shards

    with terminal.status("loading the model"):
        classifier = load_classifier(model.folder)
    with terminal.progress("classifying parts") as progress:
        report = predict_embedding_shards(
            classifier,
            str(path),
            str(output),
            **rates,
            progress=lambda report: progress(len(report.shards), None),
        )
    tell_report(terminal, str(output), report)


def _reason(image: Path) -> str:
    """Returns why an image was left out. It is read anew, since a warning had the reason."""
    from keras_cmm_runtime import InputError
    from keras_cmm_runtime.images import read_image

    try:
        read_image(image)
    except InputError as error:
        return str(error)
    return "cannot be prepared for the model"


def _as_json(predictions: Sequence[Prediction]) -> str:
    content = [
        {
            "image": image,
            "predictions": [
                {"class": name, "probability": probability} for name, probability in best
            ],
            **({"error": error} if error else {}),
        }
        for image, best, error in predictions
    ]
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def _as_csv(predictions: Sequence[Prediction]) -> str:
    rows: list[tuple[object, ...]] = []
    for image, best, error in predictions:
        rows += [
            (image, rank, name, f"{probability:.6f}", "")
            for rank, (name, probability) in enumerate(best, start=1)
        ]
        if error:
            rows.append((image, "", "", "", error))
    return to_csv(("image", "rank", "class", "probability", "error"), rows)


def _as_table(predictions: Sequence[Prediction]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("probability", justify="right")
    for image, best, error in predictions:
        if error:
            table.add_row(Text(visible(image)), Text("cannot be read", style="italic"), "")
        for rank, (name, probability) in enumerate(best):
            table.add_row(
                Text("" if rank else visible(image)),
                Text(visible(name), style="" if rank else "bold"),
                f"{100 * probability:.1f}%",
                end_section=rank == len(best) - 1 > 0,
            )
    return table


_FORMATS: dict[str, Callable[[Sequence[Prediction]], Any]] = {
    "json": _as_json,
    "csv": _as_csv,
    "table": _as_table,
}
# How the files begin.
_MARKS = {"json": b'[\n {\n  "image": ', "csv": b"image,rank,class,probability"}
