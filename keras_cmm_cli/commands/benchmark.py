"""`keras-cmm benchmark`: few-shot methods side by side on data sets or embeddings files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from keras_cmm_cli.benchmark_records import BenchmarkRecords
from keras_cmm_cli.benchmark_tables import base_to_new_tables, benchmark_tables
from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.options import (
    SEED,
    CommaSeparated,
    Shots,
    batch_size_option,
    refuse_together,
    report_option,
)
from keras_cmm_cli.outputs import check_apart, check_new_file, write_json
from keras_cmm_cli.run_file import command_line
from keras_cmm_cli.runs_folder import Record, RunsFolder, read_records, warn_of_mixed_versions
from keras_cmm_cli.store import store_options
from keras_cmm_cli.terminal import Terminal, counted, with_terminal

if TYPE_CHECKING:
    from keras_cmm.data import Benchmark
    from keras_cmm.evaluation import Run
    from keras_cmm_cli.benchmark_inputs import BenchmarkInput

METHODS = (
    "cmm,cmm_plain,zero_shot,nearest_mean,linear_probe,clip_adapter,tip_adapter,tip_adapter_f,"
    "task_res,lp_plus_plus,clap,gda,proker"
)


@click.command(
    epilog="""\b
Examples:
  keras-cmm benchmark --dataset dtd,eurosat --data-dir data --preset clip_vit_base_patch16 \\
      --output-dir runs
  keras-cmm benchmark dtd.safetensors cars.safetensors --shots 1,4,16 --output results.json
"""
)
@click.argument("files", nargs=-1, metavar="[EMBEDDINGS_FILE]...")
@click.option(
    "--dataset",
    "datasets",
    type=CommaSeparated(click.STRING, "NAME,..."),
    help="Benchmarks to embed and run on, instead of embeddings files; see `keras-cmm datasets "
    "list`. ImageNet's shifts (imagenetv2, imagenet_sketch, imagenet_a, imagenet_r) are scored by "
    "what is trained on imagenet.",
)
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the data sets, as CoOp's DATASETS.md says, or of TFDS.",
)
@click.option(
    "--protocol",
    type=click.Choice(("coop", "tfds")),
    default="coop",
    show_default=True,
    help="Where images and splits of --dataset come from. Results of the two cannot be compared.",
)
@click.option("--preset", help="CLIP to embed --dataset with, as of `fit`.")
@click.option(
    "--indices",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of few-shot draws to use instead of new ones, NAME/shot_K-seed_S.json as "
    "cross_modal_adaptation ships them.",
)
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
    type=CommaSeparated(SEED, "SEED,..."),
    default="1,2,3",
    show_default=True,
    help="Seeds of the few-shot draws and of the training.",
)
@click.option("--seed", type=SEED, help="One seed, instead of --seeds.")
@click.option(
    "--base-to-new",
    is_flag=True,
    help="Train on the first half of the classes, and score new images among the other half.",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    metavar="RUNS",
    help="Folder for one JSON file a run, for `keras-cmm aggregate`.",
)
@click.option(
    "--skip-existing/--no-skip-existing",
    default=True,
    show_default=True,
    help="Leave out the runs that are in --output-dir.",
)
@click.option("--output", type=click.Path(path_type=Path), help="JSON file for the records.")
@report_option
@click.option("--resume", is_flag=True, help="Keep the records in --output, run what is missing.")
@click.option(
    "--overwrite", is_flag=True, help="Replace the files --output and --report if they exist."
)
@batch_size_option
@store_options
@with_terminal
def benchmark(
    terminal: Terminal,
    files: tuple[str, ...],
    datasets: list[str] | None,
    data_dir: Path | None,
    protocol: str,
    preset: str | None,
    indices: Path | None,
    methods: list[str],
    shots: list[int | Literal["all"]],
    seeds: list[int],
    seed: int | None,
    base_to_new: bool,
    output_dir: Path | None,
    skip_existing: bool,
    output: Path | None,
    report: Path | None,
    resume: bool,
    overwrite: bool,
    batch_size: int,
    store: Path | None,
) -> None:
    """Compare few-shot methods on benchmark data sets, or on embeddings files.

    Every method is trained on every data set, at every number of shots and seed, and tested on all
    test images. Hyper-parameters are fixed, or chosen on few-shot validation images, never on
    test images; each record says which.

    The tables give top-1 accuracy in percent, its mean and standard deviation over the seeds. With
    --output-dir each run is a file of its own, written as soon as it is done: run the same command
    again after an interruption, and it does what is missing. Embeddings are kept in the store. With
    --output all records are in one file; go on with --resume. Records say what data they are of:
    beside those of other data of the same name nothing is run.

    Of the train images only those that are drawn are embedded. A number of shots that no class of a
    data set has is left out there, with a warning.

    A data set or run that fails is reported and the others are run; the exit code is then 2.
    """
    if seed is not None:
        refuse_together("seed", "seeds")
        seeds = [seed]
    _check_inputs(files, datasets, data_dir, preset, indices)
    if base_to_new and report is not None:
        raise click.UsageError("--report shows no base-to-new runs; leave one of the two out.")
    check_apart({"--output": output, "--report": report}, (*files, indices))
    runs = None if output_dir is None else RunsFolder(output_dir)
    records = BenchmarkRecords(_start_records(output, resume, overwrite), output, runs)
    if report is not None:
        check_new_file(report, overwrite or resume)

    with terminal.status("loading Keras"):
        load_keras()
    methods = _known_methods(methods, base_to_new)
    if datasets:
        from keras_cmm_cli.benchmark_inputs import DatasetInput, Embedding

        embedding = Embedding(terminal, str(preset), batch_size, store)

        def open_dataset(benchmark: Benchmark, shifts: tuple[Benchmark, ...]) -> BenchmarkInput:
            return DatasetInput(benchmark, shifts, protocol, data_dir or Path(), embedding, indices)

        inputs = _open_datasets(terminal, datasets, open_dataset, shifted=not base_to_new)
    else:
        inputs = _read(terminal, files)
    opened = {name for data in inputs for name in (data.name[0], *data.shift_names)}
    failed = len(inputs) < len(files) or not set(datasets or ()) <= opened
    if not inputs:
        raise click.exceptions.Exit(2)
    from keras_cmm.evaluation import plan_runs, versions

    asked: list[Record] = []  # The identity of each record that there should be.
    missing: list[tuple[BenchmarkInput, list[Run]]] = []
    for data in inputs:
        planned = plan_runs(data.name[0], data.largest_class, methods, shots, seeds)
        wanted = {run: data.identities(run, base_to_new) for run in planned}
        every = [identity for identities in wanted.values() for identity in identities]
        records.check_data(data, every, skip_existing)
        records.take_existing(every, skip_existing)
        asked += every
        to_run = [run for run in wanted if not all(map(records.has, wanted[run]))]
        drawable = _drawable(terminal, data, to_run)
        failed |= len(drawable) < len(to_run)
        missing.append((data, drawable))
    if not asked:
        raise click.UsageError("no run is left; ask for fewer --shots, or for 'all'.")
    most = {data.largest_class for data in inputs}
    if "all" in shots and len(most) > 1:
        each = ", ".join(f"{data.largest_class} on {data.name[0]}" for data in inputs)
        terminal.note(f"Of different numbers of shots there is no average; 'all' is {each}.")
    if output is not None:
        write_json(output, records.all)  # Refused before the work if it cannot be written.
    if records.all:
        total = sum(len(to_run) for _, to_run in missing)
        terminal.note(
            f"{counted(len(records.all), 'record is', 'records are')} there, "
            f"{counted(total, 'run is', 'runs are')} missing."
        )
    there = [records[each].get("versions") for each in asked if records.has(each)]
    warn_of_mixed_versions("this benchmark", [*there, versions()])

    try:
        failed |= _run_missing(terminal, missing, records, base_to_new)
    except KeyboardInterrupt:
        if output is not None:
            terminal.note(
                f"{output}: {counted(len(records.all), 'record', 'records')}; go on with --resume."
            )
        raise

    shown = [records[each] for each in asked if records.has(each)]
    shown.sort(key=lambda record: methods.index(record["method"]))
    tables = base_to_new_tables(shown) if base_to_new else []
    for table in tables or benchmark_tables(shown, terminal.plus_minus):
        terminal.result(table.to_rich())
        terminal.result("")
    if output_dir is not None and shown:
        terminal.note(
            f"{output_dir}: {counted(len(shown), 'run', 'runs')}; see `keras-cmm aggregate`."
        )
    if output is not None:
        terminal.note(f"{output}: {counted(len(records.all), 'record', 'records')}.")
    if report is not None and shown:
        _report(report, shown)
        terminal.note(f"{report}: the report.")
    if failed:
        raise click.exceptions.Exit(2)


def _check_inputs(
    files: Sequence[str],
    datasets: Sequence[str] | None,
    data_dir: Path | None,
    preset: str | None,
    indices: Path | None,
) -> None:
    """Refuses a command of neither form, or of both."""
    if datasets:
        if files:
            raise click.UsageError("give embeddings files or --dataset, not both.")
        if data_dir is None or preset is None:
            raise click.UsageError("--dataset needs --data-dir and --preset.")
    elif not files:
        raise click.UsageError("Missing argument 'EMBEDDINGS_FILE...' or option '--dataset'.")
    elif data_dir is not None or preset is not None or indices is not None:
        raise click.UsageError("--data-dir, --preset and --indices are for --dataset.")


def _known_methods(methods: list[str], base_to_new: bool) -> list[str]:
    """Refuses unknown methods, and leaves out those that cannot score new classes."""
    from keras_cmm.evaluation import can_classify_new
    from keras_cmm.methods import METHODS as KNOWN

    unknown = [method for method in methods if method not in KNOWN]
    if unknown:
        raise click.BadParameter(
            f"{unknown[0]!r} is not among {', '.join(KNOWN)}.", param_hint="'--methods'"
        )
    if not base_to_new:
        return methods
    unable = [method for method in methods if not can_classify_new(method)]
    if unable:
        warnings.warn(
            f"{', '.join(unable)}: left out, since they cannot score classes that they have seen "
            "no image of.",
            stacklevel=2,
        )
    able = [method for method in methods if method not in unable]
    if not able:
        raise click.BadParameter("none of them scores new classes.", param_hint="'--methods'")
    return able


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
    records, others = read_records(output) if resume and holds_something else ([], [])
    if others:
        raise click.ClickException(
            f"{output}: is not a list of benchmark records; give the name of another file."
        )
    return records


def _read(terminal: Terminal, files: tuple[str, ...]) -> list[BenchmarkInput]:
    """Reads the embeddings files, and reports those that cannot be used."""
    from keras_cmm.errors import InputError
    from keras_cmm_cli.benchmark_inputs import FileInput

    inputs: list[BenchmarkInput] = []
    first: dict[tuple[str, ...], str] = {}
    for file in files:
        try:
            data = FileInput(file)
        except InputError as error:
            terminal.error(str(error))
            continue
        if data.name in first:
            terminal.error(
                f"{file}: has the data set, protocol and backbone of {first[data.name]} "
                f"({', '.join(data.name)}): their records could not be told apart; rename the "
                "file, or write another `dataset` into its metadata."
            )
            continue
        first[data.name] = file
        inputs.append(data)
    return inputs


def _open_datasets(
    terminal: Terminal, names: list[str], make: Callable[..., BenchmarkInput], shifted: bool
) -> list[BenchmarkInput]:
    """Lists the images of the data sets, and reports those that cannot be used."""
    from keras_cmm.data.benchmarks import get_benchmark
    from keras_cmm.errors import InputError

    benchmarks = [get_benchmark(name) for name in names]
    shifts = tuple(each for each in benchmarks if each.splits == ("test",))
    if shifts and not shifted:
        raise click.UsageError("--base-to-new has no shifts; leave them out of --dataset.")
    trained = [each for each in benchmarks if each not in shifts]
    imagenet = get_benchmark("imagenet")
    if shifts and imagenet not in trained:
        terminal.note("imagenet is run too: the shifts are scored by what is trained on it.")
        trained.append(imagenet)
    inputs = []
    for each in trained:
        try:
            inputs.append(make(each, shifts if each is imagenet else ()))
        except InputError as error:
            terminal.error(str(error))
    return inputs


def _drawable(terminal: Terminal, data: BenchmarkInput, runs: Sequence[Run]) -> list[Run]:
    """Leaves out the runs whose draw cannot be had, and reports each such draw."""
    from keras_cmm.errors import InputError

    refused = set()
    for shots, seed in dict.fromkeys((run.shots, run.seed) for run in runs):
        try:
            data.draw_digest(shots, seed)
        except InputError as error:
            terminal.error(f"{data.label}: {shots}-shot, seed {seed} left out. {error}")
            refused.add((shots, seed))
    return [run for run in runs if (run.shots, run.seed) not in refused]


def _run_missing(
    terminal: Terminal,
    missing: Sequence[tuple[BenchmarkInput, list[Run]]],
    records: BenchmarkRecords,
    base_to_new: bool,
) -> bool:
    """Runs what is missing, and returns whether anything failed. Each failure is reported."""
    from keras_cmm.errors import InputError
    from keras_cmm.evaluation import run_plan

    failed = False
    finished, total = 0, sum(len(runs) for _, runs in missing)
    with terminal.progress("benchmark") as progress:
        for outcome in run_plan(missing, base_to_new):
            try:
                for record in outcome.records:
                    records.add(record, outcome.data)
                    terminal.detail(_described(record))
            except InputError as error:  # The record cannot be written.
                outcome = outcome._replace(refusal=error)
            if outcome.refusal is not None:
                terminal.error(outcome.message)
                failed = True
            if outcome.run is not None:
                finished += 1
                progress(finished, total, f"{outcome.data.label}, {outcome.run.method}")
    return failed


def _described(record: Record) -> str:
    run = "{dataset}, {method}, shots {shots}, seed {seed}".format(**record)
    if record.get("base_to_new"):
        return f"{run}: base {record['base_top1']:.2f}, new {record['new_top1']:.2f}"
    return f"{run}: {record['top1']:.2f}"
