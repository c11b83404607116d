"""Benchmark records as tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Group

Row = Mapping[str, Any]


def benchmark_tables(records: Sequence[Row], plus_minus: str = "±") -> list[Group]:
    """Makes one table a data set, and one of the average where there are several data sets.

    Args:
        records: Records of `keras_cmm.evaluation.run_benchmark`.
        plus_minus: What stands between mean and standard deviation.

    Returns:
        Tables with their headings: a row a method, a column a number of shots.
    """
    from keras_cmm.evaluation import average_over_datasets, summarize

    tables: dict[str, list[Row]] = defaultdict(list)
    datasets: dict[str, list[str]] = defaultdict(list)
    for row in summarize(records):
        heading = f"{row['dataset']} ({_setting(row)})"
        if heading not in tables:
            datasets[_setting(row)].append(row["dataset"])
        tables[heading].append(row)
    for row in average_over_datasets(records):
        names = datasets[_setting(row)]
        if len(names) > 1:
            tables[f"average of {', '.join(names)} ({_setting(row)})"].append(row)
    return [_table(heading, rows, plus_minus) for heading, rows in tables.items()]


def _setting(row: Row) -> str:
    return f"{row['backbone']}, protocol {row['protocol']}"


def _table(heading: str, rows: Sequence[Row], plus_minus: str) -> Group:
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    shots = sorted({row["shots"] for row in rows})
    table.add_column("top-1 %", no_wrap=True)
    for number in shots:
        table.add_column(f"{number} shot{'' if number == 1 else 's'}", justify="right")
    cells = {(row["method"], row["shots"]): _cell(row, plus_minus) for row in rows}
    for method in dict.fromkeys(row["method"] for row in rows):
        table.add_row(method, *(cells.get((method, number), "") for number in shots))
    return Group(Text(heading, style="bold"), table)


def _cell(row: Row, plus_minus: str) -> str:
    spread = f" {plus_minus} {row['std']:.1f}" if row["seeds"] > 1 else ""
    return f"{row['mean']:.1f}{spread}"
