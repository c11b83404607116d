"""Tables of results and their printed formats."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from keras_cmm_cli.terminal import visible

if TYPE_CHECKING:
    from rich.console import Group

FORMAT_HELP = (
    "csv puts a ' before a text that a spreadsheet would run as a formula; numbers stay as they "
    "are. Control characters in names are written as in JSON, such as \\u001b."
)

format_option = click.option(
    "--format",
    "style",
    type=click.Choice(("table", "json", "csv")),
    default="table",
    show_default=True,
    help=FORMAT_HELP,
)
"""`--format`, which the command gets as `style`."""

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


_MARKDOWN = str.maketrans({"|": r"\|", "\\": r"\\", "<": "&lt;", "&": "&amp;"})

# The second four are the first in full width.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


class ResultTable(NamedTuple):
    """Cells of text under a heading, with notes below."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def to_rich(self) -> Group:
        """Returns the table for a terminal."""
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        shown = self._visible()
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for number, column in enumerate(shown.columns):
            right = number and _is_number(column)
            table.add_column(Text(column), justify="right" if right else "left", overflow="fold")
        for row in shown.rows:
            table.add_row(*map(Text, row))
        return Group(Text(shown.heading, style="bold"), table, *map(Text, shown.notes))

    def to_markdown(self) -> str:
        """Returns the table in GitHub's Markdown."""
        shown = self._visible()
        aligned = ["---:" if _is_number(column) else "---" for column in shown.columns[1:]]
        rows = [list(shown.columns), ["---", *aligned], *shown.rows]
        lines = [
            "| " + " | ".join(cell.translate(_MARKDOWN) for cell in row) + " |" for row in rows
        ]
        notes = [line for note in shown.notes for line in ("", note)]
        return "\n".join([f"**{shown.heading.translate(_MARKDOWN)}**", "", *lines, *notes])

    def to_latex(self) -> str:
        """Returns the table in LaTeX, which needs the package booktabs."""
        shown = self._visible()
        align = "l" + "".join("r" if _is_number(column) else "l" for column in shown.columns[1:])
        head, *rows = (
            " & ".join(cell.translate(_LATEX) for cell in row) + r" \\"
            for row in (shown.columns, *shown.rows)
        )
        return "\n".join(
            [
                *(f"% {line}" for line in (shown.heading, *shown.notes)),
                f"\\begin{{tabular}}{{{align}}}",
                r"\toprule",
                head,
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )

    def _visible(self) -> ResultTable:
        """Returns the table with hidden characters as they are printed, one line a text."""
        return ResultTable(
            visible(self.heading),
            [visible(column) for column in self.columns],
            [[visible(cell) for cell in row] for row in self.rows],
            [visible(note) for note in self.notes],
        )


def to_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns rows as CSV with a header line.

    A text that a spreadsheet would run as a formula gets a `'` in front, as OWASP recommends.
    Numbers stay as they are.
    """
    file = io.StringIO()
    plain = csv.writer(file, lineterminator="\n")
    # Some spreadsheets split at semicolons too, but not inside quotes.
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (columns, *rows):
        cells = [_csv_cell(cell) for cell in row]
        has_semicolon = any(";" in str(cell) for cell in cells)
        (quoted if has_semicolon else plain).writerow(cells)
    return file.getvalue().removesuffix("\n")


def _csv_cell(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = visible(cell)
    return f"'{text}" if cell.lstrip().startswith(_FORMULA) and not _is_numeral(text) else text


def _is_numeral(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_number(column: str) -> bool:
    return column not in ("source", "protocol", "method", "best peer")
