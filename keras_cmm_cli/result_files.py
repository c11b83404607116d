"""Results that are printed, or written to a file of the same form."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import click

from keras_cmm_cli.options import is_given
from keras_cmm_cli.outputs import check_new_file
from keras_cmm_cli.terminal import visible_lines


def checked_style(style: str, output: Path | None, overwrite: bool, marks: dict[str, bytes]) -> str:
    """Returns the form of a result, after a look at where it is to go.

    Args:
        style: The value of `--format`.
        output: The value of `--output`, or `None` to print.
        overwrite: Whether a file of the command may be replaced.
        marks: How the files of each form begin.

    Raises:
        ClickException: If the file cannot be written or has no form.
    """
    if output is None:
        return style
    style = style if is_given("style") else output.suffix.lower().removeprefix(".")
    if style not in marks:
        names: Collection[str] = sorted(marks)
        endings = " or ".join(f".{name}" for name in names)
        raise click.UsageError(
            f"{output}: --output takes a name that ends in {endings}, or --format "
            f"{' or '.join(names)}."
        )
    check_new_file(output, overwrite, marks[style])
    return style


def write_result(output: Path, text: str) -> None:
    """Writes a result, whole or not at all."""
    from keras_cmm_runtime.utils import replacing

    with replacing(output) as file:
        file.write(f"{visible_lines(text)}\n".encode())
