"""`keras-cmm presets`: what --preset can name."""

from __future__ import annotations

import json

import click

from keras_cmm_cli.options import unused_seed_option
from keras_cmm_cli.result_table import FORMAT_HELP, to_csv
from keras_cmm_cli.terminal import Terminal, with_terminal
from keras_cmm_runtime.presets import Preset, known_presets


@click.command(
    epilog="""\b
Examples:
  keras-cmm presets
  keras-cmm presets --format csv > presets.csv
"""
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(("table", "json", "csv")),
    default="table",
    show_default=True,
    help=f"Form of the output. {FORMAT_HELP}",
)
@unused_seed_option
@with_terminal
def presets(terminal: Terminal, output_format: str) -> None:
    """List models that --preset can name.

    Other models of these families on the Hugging Face hub can be named too, and folders and files,
    see convert. parameters are millions, image_size is pixels, and imagenet_top1 is the zero-shot
    accuracy in per cent that was published where csv and json say. An empty cell is not known.
    """
    rows = [preset._asdict() for preset in known_presets()]
    if output_format == "json":
        terminal.result(json.dumps(rows, indent=1))
    elif output_format == "csv":
        cells = [["" if cell is None else cell for cell in row.values()] for row in rows]
        terminal.result(to_csv(Preset._fields, cells))
    else:
        _print_table(terminal)


def _print_table(terminal: Terminal) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    # A name is to be copied, so it stays in one line.
    table.add_column("name", no_wrap=True)
    for column in ("parameters", "image_size", "dim", "imagenet_top1"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("licence", overflow="fold")
    table.add_column("good for", overflow="fold")
    source = ""
    for preset in known_presets():
        if preset.source != source:
            source = preset.source
            table.add_section()
        table.add_row(
            preset.name,
            _number(preset.parameters_millions, ",.0f"),
            str(preset.image_size),
            _number(preset.embedding_dim, "d"),
            _number(preset.imagenet_top1, ".1f"),
            preset.licence,
            preset.good_for,
        )
    terminal.result(table)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
