"""`keras-cmm benchmark`: few-shot methods side by side on embeddings files."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from keras_cmm_cli.benchmark_tables import benchmark_tables
from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.options import CommaSeparated, Shots, report_option
from keras_cmm_cli.outputs import check_new_file, write_json
from keras_cmm_cli.run_file import command_line
from keras_cmm_cli.terminal import Terminal, with_terminal

if TYPE_CHECKING:
    from keras_cmm.data import EmbeddingSet

METHODS = (
    "cmm,cmm_plain,zero_shot,nearest_mean,linear_probe,clip_adapter,tip_adapter,tip_adapter_f,"
    "task_res,lp_plus_plus,clap,gda,proker"
)

Record = dict[str, Any]
Run = tuple[str, int, int]  # method, shots, seed


@click.command(
    epilog="""\b
Example:
  keras-cmm benchmark dtd.safetensors cars.safetensors --shots 1,4,16 --output results.json
"""
)
@click.argument("files", nargs=-1, required=True, metavar="EMBEDDINGS_FILE...")
@click.option(
    "--methods",
    type=CommaSeparated(click.STRING, "NAME,..."),
    default=METHODS,
    show_default=True,
    help="Methods, in the order of the table.",
)
@click.option(
    "--shots",
    type=CommaSeparated(Shots(), "K,..."),
    default="1,2,4,8,16",
    show_default=True,
    help="Numbers of training images a class, or 'all'.",
)
@click.option(
    "--seeds",
    type=CommaSeparated(click.INT, "SEED,..."),
    default="1,2,3",
    show_default=True,
    help="Seeds of the few-shot draws and of the training.",
)
@click.option("--seed", type=int, help="One seed, instead of --seeds.")
@click.option("--output", type=click.Path(path_type=Path), help="JSON file for the records.")
@report_option
@click.option("--resume", is_flag=True, help="Keep the records in --output, run what is missing.")
@click.option(
    "--overwrite", is_flag=True, help="Replace the files --output and --report if they exist."
)
@with_terminal
def benchmark(
    terminal: Terminal,
    files: tuple[str, ...],
    methods: list[str],
    shots: list[int | Literal["all"]],
    seeds: list[int],
    seed: int | None,
    output: Path | None,
    report: Path | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Compare few-shot methods on embeddings files.

    Every method is trained on every file, at every number of shots and seed, and tested on the
    file's test rows. Hyper-parameters are fixed, or chosen on few-shot validation rows, never on
    test rows; each record says which.

    The tables give top-1 accuracy in percent, its mean and standard deviation over the seeds. With
    --output each run's record is saved as soon as there is
    one, so that an interruption loses nothing: go on with --resume.

    A number of shots that no class of a file has is left out there, with a warning.

    A file that cannot be used is reported and the others are run; the exit code is then 2.
    """
    seeds = seeds if seed is None else [seed]
    records = _start_records(output, resume, overwrite)
    if report is not None:
        check_new_file(report, overwrite or resume)

    with terminal.status("loading Keras"):
        load_keras()
    from keras_cmm.errors import InputError
    from keras_cmm.evaluation import run_benchmark
    from keras_cmm.methods import METHODS as KNOWN

    unknown = [method for method in methods if method not in KNOWN]
    if unknown:
        raise click.BadParameter(
            f"{unknown[0]!r} is not among {', '.join(KNOWN)}.", param_hint="'--methods'"
        )
    embedding_sets = _read(terminal, files)
    failed = len(embedding_sets) < len(files)
    if not embedding_sets:
        raise click.exceptions.Exit(2)
    if output is not None:
        write_json(output, records)  # What cannot be written should be known before the work.

    wanted = {file: _runs(data, methods, shots, seeds) for file, data in embedding_sets.items()}
    done = {_identity(record) for record in records}
    missing = {
        file: [run for run in runs if (*_name(embedding_sets[file]), *run) not in done]
        for file, runs in wanted.items()
    }
    finished, total = 0, sum(map(len, missing.values()))
    with terminal.progress("benchmark") as progress:

        def keep(record: Record) -> None:
            nonlocal finished
            records.append(record)
            if output is not None:
                write_json(output, records)
            finished += 1
            run = "{dataset}, {method}, shots {shots}, seed {seed}".format(**record)
            terminal.detail(f"{run}: {record['top1']:.2f}")
            progress(finished, total, run)

        for file, runs in missing.items():
            try:
                for (number, seed), group in itertools.groupby(runs, key=lambda run: run[1:]):
                    names = [method for method, _, _ in group]
                    only = ([], []) if names == ["zero_shot"] else ([number], [seed])
                    run_benchmark([embedding_sets[file]], names, *only, on_record=keep)
            except InputError as error:
                terminal.error(f"{file}: {error}")
                failed = True
            except KeyboardInterrupt:
                if output is not None:
                    terminal.note(f"{output}: {len(records)} records; go on with --resume.")
                raise

    asked = {(*_name(embedding_sets[file]), *run) for file, runs in wanted.items() for run in runs}
    shown = [record for record in records if _identity(record) in asked]
    shown.sort(key=lambda record: methods.index(record["method"]))
    for table in benchmark_tables(shown, terminal.plus_minus):
        terminal.result(table)
        terminal.result("")
    if output is not None:
        terminal.note(f"{output}: {len(records)} records.")
    if report is not None and shown:
        _report(report, shown)
        terminal.note(f"{report}: the report.")
    if failed:
        raise click.exceptions.Exit(2)


def _report(path: Path, records: list[Record]) -> None:
    from keras_cmm.report import ReportContent, write_report

    content = ReportContent("Few-shot benchmark", records=records, command=command_line())
    write_report(path, content)


def _start_records(output: Path | None, resume: bool, overwrite: bool) -> list[Record]:
    """Returns the records to go on from, and refuses an output that would be lost."""
    if resume and (overwrite or output is None):
        raise click.UsageError("--resume needs --output and excludes --overwrite.")
    if output is None:
        return []
    holds_something = output.is_file() and output.stat().st_size > 0
    if holds_something and not resume and not overwrite:
        raise click.ClickException(
            f"{output}: exists; give --resume to go on with it or --overwrite to replace it."
        )
    check_new_file(output, overwrite=True)
    return _read_records(output) if resume and holds_something else []


def _read_records(path: Path) -> list[Record]:
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        for record in records:
            _identity(record), float(record["top1"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise click.ClickException(
            f"{path}: is not a list of benchmark records; give the name of another file."
        ) from error
    return list(records)


def _read(terminal: Terminal, files: tuple[str, ...]) -> dict[str, EmbeddingSet]:
    """Reads the embeddings files, and reports those that cannot be used."""
    from keras_cmm.data import EmbeddingSet
    from keras_cmm.errors import InputError

    embedding_sets: dict[str, EmbeddingSet] = {}
    first: dict[tuple[str, ...], str] = {}
    for file in files:
        try:
            data = EmbeddingSet.read(file)
        except InputError as error:
            terminal.error(str(error))
            continue
        if _name(data) in first:
            terminal.error(
                f"{file}: has the data set, protocol and backbone of {first[_name(data)]} "
                f"({', '.join(_name(data))}): their records could not be told apart."
            )
            continue
        first[_name(data)] = file
        embedding_sets[file] = data
    return embedding_sets


def _runs(
    data: EmbeddingSet, methods: list[str], shots: list[int | Literal["all"]], seeds: list[int]
) -> list[Run]:
    """Lists the runs on one data set; those of the same shots and seed stand together."""
    largest = _largest_class(data)
    numbers = dict.fromkeys(largest if number == "all" else number for number in shots)
    trained = [method for method in methods if method != "zero_shot"]
    runs = itertools.product(numbers, seeds, trained)
    zero_shot = [("zero_shot", 0, 0)] if "zero_shot" in methods else []
    return zero_shot + [(method, number, seed) for number, seed, method in runs]


def _largest_class(data: EmbeddingSet) -> int:
    import numpy as np

    return int(np.bincount(data.train_labels).max())


def _name(data: EmbeddingSet) -> tuple[str, str, str]:
    return data.dataset, data.protocol, data.backbone


def _identity(record: Record) -> tuple[Any, ...]:
    fields = ("dataset", "protocol", "backbone", "method", "shots", "seed")
    return tuple(record[field] for field in fields)
