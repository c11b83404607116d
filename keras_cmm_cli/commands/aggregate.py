"""`keras-cmm aggregate`: the table of all runs in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from keras_cmm_cli.benchmark_tables import (
    base_to_new_tables,
    benchmark_tables,
    published_table,
    regret_tables,
)
from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.options import ranks_option, unused_seed_option
from keras_cmm_cli.outputs import FIGURE, check_new_file
from keras_cmm_cli.ranks_figure import write_ranks_figure
from keras_cmm_cli.result_table import FORMAT_HELP, to_csv
from keras_cmm_cli.runs_folder import Record, read_records, warn_of_mixed_versions
from keras_cmm_cli.terminal import Terminal, with_terminal

_COLUMNS = (
    "kind", "dataset", "protocol", "backbone", "method", "shots", "measure", "mean", "std",
    "seeds", "source",
)  # fmt: skip


@click.command(
    epilog="""\b
Examples:
  keras-cmm aggregate runs
  keras-cmm aggregate runs/coop --format latex > table.tex
  keras-cmm aggregate runs --ranks ranks.png
"""
)
@click.argument("runs", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format",
    "style",
    type=click.Choice(("table", "markdown", "csv", "latex")),
    default="table",
    show_default=True,
    help=FORMAT_HELP,
)
@click.option(
    "--published/--no-published",
    default=True,
    show_default=True,
    help="Show published results of others, in a table of their own.",
)
@ranks_option
@click.option("--overwrite", is_flag=True, help="Replace the file --ranks if it exists.")
@unused_seed_option
@with_terminal
def aggregate(
    terminal: Terminal,
    runs: Path,
    style: str,
    published: bool,
    ranks: Path | None,
    overwrite: bool,
) -> None:
    """Print the tables of the benchmark runs in RUNS, the --output-dir of `benchmark`.

    There is one table for each data set and one of their average. A table has a row for each method
    and a column for each number of shots. It gives top-1 accuracy in percent: its mean and standard
    deviation over the seeds. Missing runs are shown as missing, and there is an average only where
    every data set has a value. Then comes the regret: by how much the best of the other methods is
    ahead of CMM. Transductive methods and base-to-new runs have tables of their own. The harmonic
    mean of the latter is that of the averaged accuracies.

    Runs of different protocols or backbones, or on different data of one name, are refused, because
    their figures cannot be compared. Give the folder of one of them. Runs of different versions of
    keras-cmm, or on different Keras backends, are shown with a warning.

    Published results of others come last, each with its source and protocol.
    """
    if ranks is not None:
        check_new_file(ranks, overwrite, FIGURE)
    records, others = read_records(runs)
    for path in others:
        terminal.error(f"{path}: holds no record of a run; it is left out.")
    if not records:
        raise click.ClickException(
            f"{runs}: has no runs; give the --output-dir of `keras-cmm benchmark`."
        )
    _refuse_mixtures(runs, records)
    warn_of_mixed_versions(str(runs), [record.get("versions") for record in records])
    records = _in_order(records)
    few_shot = [record for record in records if not record.get("base_to_new")]
    base_to_new = [record for record in records if record.get("base_to_new")]
    if style == "csv":
        terminal.result(to_csv(_COLUMNS, _csv_rows(few_shot, base_to_new, published)))
    else:
        plus_minus = terminal.plus_minus if style == "table" else "±"
        tables = benchmark_tables(few_shot, plus_minus) + regret_tables(few_shot)
        tables += base_to_new_tables(base_to_new)
        for table in [*tables, published_table()] if published else tables:
            if style == "table":
                terminal.result(table.to_rich())
            else:
                terminal.result(table.to_markdown() if style == "markdown" else table.to_latex())
            terminal.result("")
    if ranks is not None:
        with terminal.status("loading Keras"):
            load_keras()
    is_written = ranks is None or write_ranks_figure(terminal, ranks, few_shot)
    if others or not is_written:
        raise click.exceptions.Exit(2)


def _in_order(records: list[Record]) -> list[Record]:
    """Sorts records as `benchmark` shows them: data sets and methods in the package's order."""
    from keras_cmm_runtime.benchmarks import benchmark_table
    from keras_cmm_runtime.records import METHOD_NAMES

    datasets, methods = list(benchmark_table()), list(METHOD_NAMES)

    def place(name: str, known: list[str]) -> tuple[int, str]:
        return (known.index(name) if name in known else len(known), name)

    return sorted(
        records,
        key=lambda record: (place(record["method"], methods), place(record["dataset"], datasets)),
    )


def _refuse_mixtures(runs: Path, records: list[Record]) -> None:
    for field, reason in (
        ("protocol", "their test images differ"),
        ("backbone", "the models differ"),
    ):
        found = sorted({record[field] for record in records})
        if len(found) > 1:
            raise click.ClickException(
                f"{runs}: has runs of {len(found)} {field}s ({', '.join(found)}), which cannot "
                f"stand in one table because {reason}; give the folder of one of them."
            )
    first: dict[str, str] = {}
    for record in records:
        # Records of earlier versions have no digest of their data.
        dataset, data = record["dataset"], record.get("data")
        if data is not None and first.setdefault(dataset, data) != data:
            raise click.ClickException(
                f"{runs}: has runs on different data of the name {dataset!r} ({first[dataset]}, "
                f"{data}), whose results cannot be averaged; keep them in folders of their own."
            )
    draws = {bool(record.get("indices")) for record in records if record["shots"]}
    if len(draws) > 1:
        raise click.ClickException(
            f"{runs}: has runs with --indices and without, whose training images differ; keep them "
            "in folders of their own."
        )


def _csv_rows(
    few_shot: list[Record], base_to_new: list[Record], published: bool
) -> list[list[object]]:
    from keras_cmm_runtime.records import (
        PUBLISHED_RESULTS,
        own_and_shifted,
        summarize_and_average,
        summarize_base_to_new,
    )

    rows: list[list[object]] = []
    averages = ("average", "average of shifts")
    for kind, part in _by_kind(few_shot).items():
        for group, average in zip(own_and_shifted(part), averages, strict=True):
            for row in summarize_and_average(group):
                names = _named(row)
                names[0] = average if names[0] == "average" else names[0]
                rows.append([kind, *names, "top1", row["mean"], row["std"], row["seeds"], ""])
    for row in summarize_base_to_new(base_to_new):
        for measure in ("base", "new", "harmonic_mean"):
            rows.append(["run", *_named(row), measure, row[measure], "", row["seeds"], ""])
    for result in PUBLISHED_RESULTS if published else ():
        for backbone, value in (("RN50", result.rn50), ("ViT-B/16", result.vit_b16)):
            if value is not None:
                names = ["average of 11", result.protocol, backbone, result.method]
                shots = 0 if result.method == "zero-shot CLIP" else 16
                rows.append(["published", *names, shots, "top1", value, "", "", result.source])
    return rows


def _by_kind(records: list[Record]) -> dict[str, list[Record]]:
    """Returns the records by the word for their kind. Averages are of one kind alone."""
    return {
        "run": [record for record in records if not record.get("transductive")],
        "transductive run": [record for record in records if record.get("transductive")],
    }


def _named(row: Record) -> list[object]:
    return [row[name] for name in ("dataset", "protocol", "backbone", "method", "shots")]
