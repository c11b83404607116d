"""`keras-cmm evaluate`: the accuracy of a model on labelled images."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.evaluation_files import EvaluationFiles
from keras_cmm_cli.images import ImagesGiven, images_options, split_option
from keras_cmm_cli.model_engine import ModelGiven, model_options
from keras_cmm_cli.options import report_option
from keras_cmm_cli.reporting import GUESSES
from keras_cmm_cli.result_table import FORMAT_HELP, to_csv
from keras_cmm_cli.run_file import command_line, file_hash, read_run
from keras_cmm_cli.saved_model import model_argument
from keras_cmm_cli.terminal import Terminal, counted, visible, with_terminal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from rich.table import Table

    from keras_cmm_runtime.sources import ImageSource


@click.command(
    epilog="""\b
Examples:
  keras-cmm evaluate my_model test_photos/
  keras-cmm evaluate my_model test_photos/ --report report.html --mistakes wrong.csv
"""
)
@model_argument
@images_options
@split_option("test")
@click.option(
    "--held-out", is_flag=True, help="Leave out the images that the model was trained on."
)
@click.option(
    "--format",
    "style",
    type=click.Choice(("table", "json", "csv")),
    default="table",
    show_default=True,
    help=f"json has all measures, csv one row a class. {FORMAT_HELP}",
)
@report_option
@click.option(
    "--mistakes",
    type=click.Path(path_type=Path),
    help="CSV file to list the images in that are named wrong, the surest first.",
)
@click.option(
    "--confusions",
    type=click.Path(path_type=Path),
    help="File to write the confusion matrix to: .csv, or .png for at most 150 classes.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace files of --report, --mistakes and --confusions."
)
@model_options
@with_terminal
def evaluate(
    terminal: Terminal,
    model: ModelGiven,
    given: ImagesGiven,
    split: str,
    held_out: bool,
    style: str,
    report: Path | None,
    mistakes: Path | None,
    confusions: Path | None,
    overwrite: bool,
    strict: bool,
) -> None:
    """Measure the accuracy of a model of `fit` on IMAGES_DIR, which has one folder a class.

    Prints top-1 accuracy with Wilson's 95% interval, top-5 accuracy for more than five classes,
    macro F1, and the accuracy on each class, all in percent. The folders must have the names of the
    model's classes; not every class needs one. If IMAGES_DIR has splits, the split test is used.
    """
    files = EvaluationFiles(report, mistakes, confusions, overwrite)
    files.check((model.folder, given.images_dir, given.table))
    engine = model.load(terminal)
    images = given.open(terminal, split, engine.class_names)
    images, trained_on = _without_training_images(model.folder, images, held_out)
    logits, rows = engine.logits(terminal, images.images, strict)
    if not len(rows):
        raise click.ClickException(f"none of the {len(images)} images can be read.")
    kept = images.take(rows)
    measures = measure(logits, kept) | {
        "skipped": len(images) - len(kept),
        "trained_on": trained_on,
    }
    if style == "json":
        terminal.result(json.dumps(measures, indent=1, ensure_ascii=False, allow_nan=False))
    elif style == "csv":
        terminal.result(_as_csv(measures))
    else:
        overall, classes = _tables(measures)
        terminal.result(overall)
        terminal.result("")
        terminal.result(classes)
    best = engine.named(logits, GUESSES)
    files.write(terminal, kept, logits, best, measures["confusion_matrix"], _facts(model, kept))


def _facts(model: ModelGiven, images: ImageSource) -> dict[str, Any]:
    """Returns the texts of the report."""
    return {
        "title": f"Few-shot classifier of {len(images.class_names)} classes",
        "summary": f"The classifier {model.folder} on {counted(len(images), 'image', 'images')}.",
        "command": command_line(),
    }


def _without_training_images(
    model_dir: Path, images: ImageSource, held_out: bool
) -> tuple[ImageSource, int | None]:
    """Leaves out the images that the model was trained on, or warns of them.

    Returns the images, and how many of them the model was trained on, or `None` if that is unknown.
    """
    run = read_run(model_dir)
    if run is None:
        if held_out:
            raise click.ClickException(
                f"{model_dir}: has no list of its training images; leave out --held-out."
            )
        return images, None
    known = {image["sha256"] for image in run["images"]}
    new = [row for row, image in enumerate(images.images) if _hash(image) not in known]
    if len(new) == len(images):
        return images, 0
    if not held_out:
        warnings.warn(
            f"the model was trained on {len(images) - len(new)} of the {len(images)} images; give "
            "--held-out to leave them out.",
            stacklevel=2,
        )
        return images, len(images) - len(new)
    if not new:
        raise click.ClickException(
            f"{model_dir}: was trained on all of these images; give others or leave out --held-out."
        )
    return images.take(new), 0


def _hash(image: Any) -> str | None:
    from keras_cmm_runtime import InputError

    try:
        return file_hash(image)
    except InputError:  # The embedder will report it.
        return None


def measure(logits: npt.NDArray[np.float32], images: ImageSource) -> dict[str, Any]:
    """Returns the measures that `--format json` prints, but for the numbers of left-out images."""
    import numpy as np

    from keras_cmm_runtime.metrics import (
        confusion_matrix,
        interval_of_accuracy,
        macro_f1,
        per_class_accuracy,
        top_1,
        top_k,
    )

    labels, names = images.labels, images.class_names
    predictions = logits.argmax(axis=1)
    counts = np.bincount(labels, minlength=len(names)).tolist()
    accuracies = per_class_accuracy(predictions, labels, len(names)).tolist()
    top1 = top_1(logits, labels)
    return {
        "images": len(images),
        "classes": sum(count > 0 for count in counts),
        "top1": top1,
        "top1_interval": interval_of_accuracy(top1, len(images)),
        **({"top5": top_k(logits, labels, 5)} if len(names) > 5 else {}),
        "macro_f1": macro_f1(predictions, labels),
        "per_class": {
            name: _of_class(count, accuracy)
            for name, count, accuracy in zip(names, counts, accuracies, strict=True)
        },
        "confusion_matrix": confusion_matrix(predictions, labels, len(names)).tolist(),
    }


def _of_class(count: int, accuracy: float) -> dict[str, Any]:
    from keras_cmm_runtime.metrics import interval_of_accuracy

    if not count:
        return {"images": 0, "top1": None, "top1_interval": None}
    return {
        "images": count,
        "top1": accuracy,
        "top1_interval": interval_of_accuracy(accuracy, count),
    }


def _as_csv(measures: dict[str, Any]) -> str:
    rows = []
    for name, values in measures["per_class"].items():
        numbers = ["", "", ""]
        if values["top1"] is not None:
            numbers = [f"{number:.2f}" for number in (values["top1"], *values["top1_interval"])]
        rows.append((name, values["images"], *numbers))
    return to_csv(("class", "images", "top1", "top1_low", "top1_high"), rows)


def _tables(measures: dict[str, Any]) -> tuple[Table, Table]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    tested, all_classes = measures["classes"], len(measures["per_class"])
    cells = {
        "images": str(measures["images"]),
        "classes": f"{tested} of {all_classes}" if tested < all_classes else str(tested),
        "top-1 %": f"{measures['top1']:.1f}",
        "95% interval": _interval(measures),
        **({"top-5 %": f"{measures['top5']:.1f}"} if "top5" in measures else {}),
        "macro F1 %": f"{measures['macro_f1']:.1f}",
        **({"trained on": str(measures["trained_on"])} if measures["trained_on"] else {}),
    }
    overall = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in cells:
        overall.add_column(title, justify="right")
    overall.add_row(*cells.values())
    classes = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    classes.add_column("class", overflow="fold")
    for title in ("images", "top-1 %", "95% interval"):
        classes.add_column(title, justify="right")
    for name, values in measures["per_class"].items():
        accuracy = "" if values["top1"] is None else f"{values['top1']:.1f}"
        classes.add_row(Text(visible(name)), str(values["images"]), accuracy, _interval(values))
    return overall, classes


def _interval(values: dict[str, Any]) -> str:
    if values["top1_interval"] is None:
        return ""
    low, high = values["top1_interval"]
    return f"{low:.1f}-{high:.1f}"
