"""Tables of results and their printed formats."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Group

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


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

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.add_column(self.columns[0], no_wrap=True)
        for column in self.columns[1:]:
            table.add_column(Text(column), justify="right" if _is_number(column) else "left")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return Group(Text(self.heading, style="bold"), table, *map(Text, self.notes))

    def to_markdown(self) -> str:
        """Returns the table in GitHub's Markdown."""
        aligned = ["---:" if _is_number(column) else "---" for column in self.columns[1:]]
        rows = [list(self.columns), ["---", *aligned], *self.rows]
        lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
        notes = [line for note in self.notes for line in ("", note)]
        return "\n".join([f"**{self.heading}**", "", *lines, *notes])

    def to_latex(self) -> str:
        """Returns the table in LaTeX, which needs the package booktabs."""
        align = "l" + "".join("r" if _is_number(column) else "l" for column in self.columns[1:])
        head, *rows = (
            " & ".join(cell.translate(_LATEX) for cell in row) + r" \\"
            for row in (self.columns, *self.rows)
        )
        return "\n".join(
            [
                *(f"% {line}" for line in (self.heading, *self.notes)),
                f"\\begin{{tabular}}{{{align}}}",
                r"\toprule",
                head,
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )


def to_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns rows as CSV with a header line."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue().removesuffix("\n")


def _is_number(column: str) -> bool:
    return column not in ("source", "protocol", "method")
