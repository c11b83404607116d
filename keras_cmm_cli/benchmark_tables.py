"""Benchmark records as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_cmm_cli.result_table import ResultTable

Row = Mapping[str, Any]

MISSING = "-"
_ONE_RUN = "in brackets: the 95% interval (Wilson) of one run on few test images"
_REGRET_COLUMNS = ("top-1, points", "shots", "mean", "each seed", "best peer")
_REGRET_NOTES = (
    "below 0 cmm leads; each seed is compared with the best peer of that seed",
    "the average is over the data sets that have the number of shots",
)


def benchmark_tables(records: Sequence[Row], plus_minus: str = "±") -> list[ResultTable]:
    """Makes one table for each data set, and one of the average of several data sets.

    Shifted test sets have an average of their own. Transductive methods have tables of their own.

    Args:
        records: Records of `keras_cmm.evaluation.run_benchmark`.
        plus_minus: The sign between mean and standard deviation.

    Returns:
        Tables with a row for each method and a column for each number of shots.
    """
    from keras_cmm_runtime.records import own_and_shifted

    tables = []
    for part, kind in zip(_by_kind(records), ("", ", transductive"), strict=True):
        for setting, same in _by_setting(part):
            own, shifted = own_and_shifted(same)
            # Zero-shot runs draw nothing, so their records have no such mark.
            draws = ", given indices" if any(record.get("indices") for record in same) else ""
            shape = _Shape(same, setting + draws + kind, plus_minus)
            tables += shape.tables(own, "") + shape.tables(shifted, "shifts ")
    return tables


def regret_tables(records: Sequence[Row]) -> list[ResultTable]:
    """Makes the table of regret: how far CMM is behind the best of the other methods.

    Args:
        records: Records of `keras_cmm.evaluation.run_benchmark`.

    Returns:
        A table for each backbone and protocol, with a row for each data set and number of shots.
        There is none without runs of CMM and of another method.
    """
    from keras_cmm_runtime.records import find_regrets, own_and_shifted

    tables = []
    inductive, _ = _by_kind(records)
    for setting, same in _by_setting(own_and_shifted(inductive)[0]):
        regrets = find_regrets(same)
        datasets = list(dict.fromkeys(each.dataset for each in regrets))
        regrets.sort(key=lambda each: (datasets.index(each.dataset), each.shots))
        rows = [
            [
                each.dataset,
                str(each.shots),
                f"{each.mean:+.1f}",
                " ".join(f"{value:+.1f}" for value in each.by_seed.values()),
                each.peer,
            ]
            for each in regrets
        ]
        if rows:
            heading = f"regret: the best peer minus cmm ({setting})"
            tables.append(ResultTable(heading, _REGRET_COLUMNS, rows, _REGRET_NOTES))
    return tables


def base_to_new_tables(records: Sequence[Row]) -> list[ResultTable]:
    """Makes the tables of base-to-new records: one for each data set, and one of their average.

    Args:
        records: Records of `keras_cmm.evaluation.run_base_to_new`.

    Returns:
        Tables with a row for each method and number of shots.
    """
    from keras_cmm_runtime.records import grouped, short_draws, summarize_base_to_new

    columns = ("top-1 %", "shots", "base", "new", "harmonic mean", "seeds")
    tables = []
    for setting, same in _by_setting(records):
        rows = summarize_base_to_new(same)
        cells = {(row["dataset"], row["method"], row["shots"]): row for row in rows}
        runs = dict.fromkeys((row["method"], row["shots"]) for row in rows)
        own = {name: found for (name,), found in grouped(same, ("dataset",)).items()}
        headings = {name: name for name in own} | {"average": f"average of {', '.join(own)}"}
        for dataset in dict.fromkeys(row["dataset"] for row in rows):
            lines = [[run[0], str(run[1]), *_halves(cells.get((dataset, *run)))] for run in runs]
            heading = f"base to new: {headings[dataset]} ({setting})"
            notes = short_draws(own.get(dataset, same))
            tables.append(ResultTable(heading, columns, lines, notes))
    return tables


def published_table() -> ResultTable:
    """Returns the table of published results, each marked as published."""
    from keras_cmm_runtime.records import PUBLISHED_RESULTS

    rows = [
        [
            f"{result.method} (published)",
            *(MISSING if value is None else f"{value:.1f}" for value in result[1:3]),
            result.source,
            result.protocol,
        ]
        for result in PUBLISHED_RESULTS
    ]
    return ResultTable(
        "published by others, not run here: 16 shots, average over 11 data sets",
        ("top-1 %", "RN50", "ViT-B/16", "source", "protocol"),
        rows,
        ("The figures are from the authors' logs or later re-runs, whose protocols differ.",),
    )


def _by_setting(records: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Returns the records of each backbone and protocol, with the words for the two."""
    from keras_cmm_runtime.records import grouped

    settings = grouped(records, ("backbone", "protocol"))
    return [(f"{key[0]}, protocol {key[1]}", found) for key, found in settings.items()]


def _by_kind(records: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Returns the records of methods that see a test image alone, and of those that see all."""
    kinds: tuple[list[Row], list[Row]] = [], []
    for record in records:
        kinds[bool(record.get("transductive"))].append(record)
    return kinds


def _halves(row: Row | None) -> list[str]:
    if row is None:
        return [MISSING] * 4
    measures = [f"{row[name]:.1f}" for name in ("base", "new", "harmonic_mean")]
    return [*measures, str(row["seeds"])]


def _in_brackets(row: Row, most: int) -> str:
    # A table over several seeds shows deviations alone.
    if row["interval"] is None or most > 1:
        return ""
    low, high = row["interval"]
    return f" ({low:.1f}-{high:.1f})"


class _Shape:
    """The rows and columns that all tables of one setting share, so that missing runs show."""

    def __init__(self, records: Sequence[Row], setting: str, plus_minus: str) -> None:
        self.methods = list(dict.fromkeys(record["method"] for record in records))
        self.shots = sorted({record["shots"] for record in records})
        self.setting = setting
        self.plus_minus = plus_minus

    def tables(self, records: Sequence[Row], kind: str) -> list[ResultTable]:
        from keras_cmm_runtime.records import average_over_datasets, grouped, short_draws, summarize

        by_dataset = {name: found for (name,), found in grouped(records, ("dataset",)).items()}
        tables = [
            self._table(name, summarize(found), short_draws(found))
            for name, found in by_dataset.items()
        ]
        if len(tables) > 1:
            heading = f"average of {kind}{', '.join(by_dataset)}"
            averages = average_over_datasets(records)
            tables.append(self._table(heading, averages, short_draws(records)))
        return tables

    def _table(self, name: str, rows: Sequence[Row], notes: Sequence[str]) -> ResultTable:
        cells = {(row["method"], row["shots"]): row for row in rows}
        most = max((row["seeds"] for row in rows), default=0)
        lines = [
            [method, *(self._cell(method, number, cells, most) for number in self.shots)]
            for method in self.methods
        ]
        titles = [f"{number} shot{'' if number == 1 else 's'}" for number in self.shots]
        is_missing = any(MISSING in line for line in lines)
        missing = [f"{MISSING}: not run, or not on all data sets"] if is_missing else []
        one_run = [_ONE_RUN] if most == 1 and any(row["interval"] for row in rows) else []
        heading = f"{name} ({self.setting})"
        return ResultTable(heading, ("top-1 %", *titles), lines, [*missing, *one_run, *notes])

    def _cell(
        self, method: str, number: int, cells: Mapping[tuple[str, int], Row], most: int
    ) -> str:
        if (method == "zero_shot") != (number == 0):
            return ""
        row = cells.get((method, number))
        if row is None:
            return MISSING
        spread = f" {self.plus_minus} {row['std']:.1f}" if row["seeds"] > 1 else ""
        fewer = f" ({row['seeds']} of {most} seeds)" if number and row["seeds"] < most else ""
        return f"{row['mean']:.1f}{spread}{_in_brackets(row, most)}{fewer}"
