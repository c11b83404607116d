"""`keras-cmm benchmark`: few-shot methods side by side on data sets or embeddings files."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from keras_cmm_cli.benchmark_records import BenchmarkRecords
from keras_cmm_cli.benchmark_tables import base_to_new_tables, benchmark_tables, regret_tables
from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.options import (
    SEED,
    CommaSeparated,
    Shots,
    batch_size_option,
    is_given,
    ranks_option,
    refuse_together,
    report_option,
)
from keras_cmm_cli.outputs import FIGURE, REPORT, check_apart, check_new_file
from keras_cmm_cli.ranks_figure import write_ranks_figure
from keras_cmm_cli.run_file import command_line
from keras_cmm_cli.runs_folder import Record, warn_of_mixed_versions
from keras_cmm_cli.store import store_options
from keras_cmm_cli.terminal import Terminal, counted, with_terminal

if TYPE_CHECKING:
    from keras_cmm.evaluation import Run
    from keras_cmm_cli.benchmark_inputs import BenchmarkInput

METHODS = (
    "cmm,cmm_plain,zero_shot,nearest_mean,linear_probe,clip_adapter,tip_adapter,tip_adapter_f,"
    "task_res,lp_plus_plus,clap,gda,proker,lfa,rla,hoso_adapter,prototype_mixing"
)
TRANSDUCTIVE = ("em_dirichlet", "text_guided_mixture")


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
    "the classifiers that are trained on imagenet.",
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
@click.option("--preset", help="CLIP that embeds the images of --dataset, as in `fit`.")
@click.option(
    "--indices",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of few-shot draws to use instead of new ones: NAME/shot_K-seed_S.json, as "
    "cross_modal_adaptation ships them.",
)
@click.option(
    "--also",
    metavar="NAME",
    help="Embeddings of a second encoder in the files, which CMM uses beside CLIP's. Other methods "
    "ignore them.",
)
@click.option(
    "--methods",
    type=CommaSeparated(click.STRING, "NAME,..."),
    default=METHODS,
    show_default=True,
    help="Methods, in the order of the table. With --transductive the default is "
    f"{','.join(TRANSDUCTIVE)}.",
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
    help="Train on the first half of the classes, and test on the other half too.",
)
@click.option(
    "--transductive",
    is_flag=True,
    help="Run the methods that see all test images at once, without labels. What they say of an "
    "image depends on the others, so their figures cannot be compared with those of other methods.",
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
@ranks_option
@click.option("--resume", is_flag=True, help="Keep the records in --output, run what is missing.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace the files --output, --report and --ranks if they exist.",
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
    also: str | None,
    methods: list[str],
    shots: list[int | Literal["all"]],
    seeds: list[int],
    seed: int | None,
    base_to_new: bool,
    transductive: bool,
    output_dir: Path | None,
    skip_existing: bool,
    output: Path | None,
    report: Path | None,
    ranks: Path | None,
    resume: bool,
    overwrite: bool,
    batch_size: int | None,
    store: Path | None,
) -> None:
    """Compare few-shot methods on benchmark data sets, or on embeddings files.

    Every method is trained on every data set, at every number of shots and seed, and tested on all
    test images. Hyper-parameters are fixed, or chosen on few-shot validation images, never on
    test images; each record says which.

    The tables give top-1 accuracy in percent: its mean and standard deviation over the seeds. With
    cmm and others a last table gives the regret: by how much the best of the others is ahead.

    With --output-dir each run is written to a file of its own as soon as it is done. After an
    interruption, give the same command again to do the missing runs. With --output all records are
    in one file; give --resume to do the missing runs. Each record holds a digest of its data, and
    the command refuses to add records to those of other data of the same name.

    With --also the records name both encoders, so they stand beside those of CLIP alone.

    Only the test images and the train images that are drawn are embedded. The store keeps the
    embeddings. If no class of a data set has enough images for a number of shots, that number is
    left out with a warning.

    If a data set or run fails, the failure is reported, the others are run, and the exit code is 2.
    """
    if seed is not None:
        refuse_together("seed", "seeds")
        seeds = [seed]
    _check_inputs(files, datasets, data_dir, preset, indices)
    if also is not None and not files:
        raise click.UsageError("--also is for embeddings files.")
    _check_kind(base_to_new, transductive, also, ranks)
    if base_to_new and report is not None:
        raise click.UsageError("--report shows no base-to-new runs; leave one of the two out.")
    check_apart({"--output": output, "--report": report, "--ranks": ranks}, (*files, indices))
    records = BenchmarkRecords(output, output_dir, resume, overwrite)
    if report is not None:
        check_new_file(report, overwrite or resume, REPORT)
    if ranks is not None:
        check_new_file(ranks, overwrite or resume, FIGURE)

    with terminal.status("loading Keras"):
        load_keras(tensorflow=bool(datasets) and protocol == "tfds")
    methods = _known_methods(methods, base_to_new, transductive)
    from keras_cmm.evaluation import plan_runs, versions
    from keras_cmm_cli.benchmark_inputs import Embedding, open_datasets, open_files

    if datasets:
        embedding = Embedding(terminal, str(preset), batch_size, store)
        where = {"protocol": protocol, "data_dir": data_dir}
        inputs = open_datasets(embedding, datasets, where, indices, shifted=not base_to_new)
    else:
        inputs = open_files(terminal, files, also)
    opened = {name for data in inputs for name in (data.name[0], *data.shift_names)}
    failed = len(inputs) < len(files) or not set(datasets or ()) <= opened
    if not inputs:
        raise click.exceptions.Exit(2)

    asked: list[Record] = []  # The identity of each record that there should be.
    missing: list[tuple[BenchmarkInput, list[Run]]] = []
    for data in inputs:
        planned = plan_runs(data.name[0], data.largest_class, methods, shots, seeds)
        wanted = {run: data.identities(run, base_to_new) for run in planned}
        every = [identity for identities in wanted.values() for identity in identities]
        records.take(data, every, skip_existing)
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
        terminal.note(f"Different numbers of shots have no average; 'all' is {each}.")
    records.write()  # A file that cannot be written is refused before the work.
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
    if not base_to_new:
        tables = benchmark_tables(shown, terminal.plus_minus) + regret_tables(shown)
    for table in tables:
        terminal.result(table.to_rich())
        terminal.result("")
    if output_dir is not None and shown:
        terminal.note(
            f"{output_dir}: {counted(len(shown), 'run', 'runs')}; see `keras-cmm aggregate`."
        )
    if output is not None:
        terminal.note(f"{output}: {counted(len(records.all), 'record', 'records')}.")
    if report is not None and shown:
        from keras_cmm.report import ReportContent, write_report

        title = "Transductive benchmark" if transductive else "Few-shot benchmark"
        content = ReportContent(title, records=shown, command=command_line())
        write_report(report, content)
        terminal.note(f"{report}: the report.")
    if ranks is not None and shown:
        failed |= not write_ranks_figure(terminal, ranks, shown)
    if failed:
        raise click.exceptions.Exit(2)


def _check_inputs(
    files: Sequence[str],
    datasets: Sequence[str] | None,
    data_dir: Path | None,
    preset: str | None,
    indices: Path | None,
) -> None:
    """Refuses a command with neither files nor data sets, or with both."""
    if datasets:
        if files:
            raise click.UsageError("give embeddings files or --dataset, not both.")
        if data_dir is None or preset is None:
            raise click.UsageError("--dataset needs --data-dir and --preset.")
    elif not files:
        raise click.UsageError("Missing argument 'EMBEDDINGS_FILE...' or option '--dataset'.")
    elif data_dir is not None or preset is not None or indices is not None:
        raise click.UsageError("--data-dir, --preset and --indices are for --dataset.")


def _check_kind(
    base_to_new: bool, transductive: bool, also: str | None, ranks: Path | None
) -> None:
    """Refuses what base-to-new runs and transductive methods do not have."""
    if transductive and base_to_new:
        raise click.UsageError("--transductive and --base-to-new exclude each other; give one.")
    if transductive and also is not None:
        raise click.UsageError("--transductive methods use no second encoder; leave out --also.")
    if ranks is not None and (base_to_new or transductive):
        kind = "--base-to-new" if base_to_new else "--transductive"
        raise click.UsageError(f"--ranks shows no {kind} runs; leave one of the two out.")


def _known_methods(methods: list[str], base_to_new: bool, transductive: bool) -> list[str]:
    """Refuses unknown methods, and leaves out those that cannot score new classes."""
    from keras_cmm.evaluation import can_classify_new
    from keras_cmm.methods import METHODS as INDUCTIVE
    from keras_cmm.methods.transductive import TRANSDUCTIVE_METHODS

    if transductive and not is_given("methods"):
        methods = list(TRANSDUCTIVE)
    known: Collection[str] = TRANSDUCTIVE_METHODS if transductive else INDUCTIVE
    for method in methods:
        if method in known:
            continue
        if method in TRANSDUCTIVE_METHODS:
            hint = "is transductive; give --transductive, which runs no other methods."
        elif method in INDUCTIVE:
            hint = "is not transductive; leave out --transductive, or the method."
        else:
            hint = f"is not among {', '.join(known)}."
        raise click.BadParameter(f"{method!r} {hint}", param_hint="'--methods'")
    if not base_to_new:
        return methods
    unable = [method for method in methods if not can_classify_new(method)]
    if unable:
        message = "left out, since they cannot score classes that they have seen no image of."
        warnings.warn(f"{', '.join(unable)}: {message}", stacklevel=2)
    if len(unable) == len(methods):
        raise click.BadParameter("none of them scores new classes.", param_hint="'--methods'")
    return [method for method in methods if method not in unable]


def _drawable(terminal: Terminal, data: BenchmarkInput, runs: Sequence[Run]) -> list[Run]:
    """Leaves out the runs whose draw cannot be used, and reports each such draw."""
    from keras_cmm_runtime import InputError

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
    from keras_cmm.evaluation import run_plan
    from keras_cmm_runtime import InputError

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
