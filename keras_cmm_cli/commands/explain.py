"""`keras-cmm explain`: why a model names a class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.options import unused_seed_option
from keras_cmm_cli.outputs import EXPLANATION, check_apart, check_new_file
from keras_cmm_cli.saved_model import load_classifier, model_argument
from keras_cmm_cli.store import store_options
from keras_cmm_cli.terminal import Terminal, visible, with_terminal

if TYPE_CHECKING:
    from rich.table import Table

    from keras_cmm.explain import Explanation, SupportImage


@click.command(
    epilog="""\b
Examples:
  keras-cmm explain my_model new.jpg --output why.png
  keras-cmm explain my_model new.jpg --class beagle --format json
"""
)
@model_argument
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="PNG file to write: the picture, and the picture with the heat map over it.",
)
@click.option("--class", "class_name", help="Class to explain.  [default: the predicted class]")
@click.option(
    "--nearest",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of training images to name.",
)
@click.option(
    "--heat-map/--no-heat-map",
    default=True,
    show_default=True,
    help="Find out which places of the image speak for the class. Models on a ResNet or on SigLIP "
    "have no heat map.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(("table", "json")),
    default="table",
    show_default=True,
    help="How the numbers are printed.",
)
@store_options
@unused_seed_option
@click.option("--overwrite", is_flag=True, help="Replace a file --output of this command.")
@with_terminal
def explain(
    terminal: Terminal,
    model_dir: Path,
    image: Path,
    output: Path | None,
    class_name: str | None,
    nearest: int,
    heat_map: bool,
    style: str,
    store: Path | None,
    overwrite: bool,
) -> None:
    """Explain what a model of `fit` says about IMAGE.

    It prints the probability of the class, the share of the class texts and of the training images
    in the decision against the next class, and the most similar training images.
    """
    if output is not None:
        if not heat_map:
            raise click.UsageError("--output and --no-heat-map exclude each other; give one.")
        check_apart({"--output": output}, (image,))
        check_new_file(output, overwrite, EXPLANATION)
    with terminal.status("loading Keras"):
        load_keras()
    with terminal.status("loading the model"):
        classifier = load_classifier(model_dir, store=store)
    explanation = classifier.explain(image, class_name, nearest, heat_map)
    if output is not None:
        explanation.save(output)
        terminal.note(f"{output}: the heat map.")
    if style == "json":
        content = {"image": click.format_filename(image), **explanation.as_dict()}
        terminal.result(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
        return
    terminal.result(_as_text(explanation))
    if explanation.nearest is None:
        terminal.note(f"No nearest training images: {explanation.nearest_missing}.")
    else:
        terminal.result(_as_table(explanation.nearest))


def _as_text(explanation: Explanation) -> str:
    shares, shown = explanation.shares, visible(explanation.class_name)
    lines = [f"{shown}: {100 * explanation.probability:.1f}%"]
    if explanation.class_name != explanation.predicted_class:
        lines[0] += f" (predicted: {visible(explanation.predicted_class)})"
    parts = f"texts {shares.text:+.2f}, images {shares.images:+.2f}"
    if shares.text_share is not None and shares.images_share is not None:
        parts += f" ({100 * shares.text_share:.0f}% and {100 * shares.images_share:.0f}%)"
    lines.append(f"margin before {visible(shares.rival)}: {shares.margin:+.2f} = {parts}")
    if explanation.heat_map is not None:
        x, y = explanation.as_dict()["heat_map"]["peak_at"]
        lines.append(f"the most for it: at x={x}, y={y}")
    return "\n".join(lines)


def _as_table(images: Sequence[SupportImage]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("nearest training image", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("similarity", justify="right")
    for image in images:
        table.add_row(
            Text(visible(image.name)), Text(visible(image.class_name)), f"{image.similarity:.3f}"
        )
    return table
