"""The table of few-shot papers on the field's 11 data sets, by one command.

    python examples/paper_table.py data --output paper

takes the folder that holds the data sets, arranged as CoOp's DATASETS.md says (or of TFDS, with
`--protocol tfds`). With each backbone it prints a table for each data set, one of their average,
and the regret: rows are the methods, columns 1, 2, 4, 8 and 16 shots. A cell is the mean top-1 in
percent over three seeds, ± the standard deviation. A last line says over how many of the data sets
the average is taken, and which are missing.

`keras-cmm benchmark` does the work, and `keras-cmm aggregate` makes the tables. Each image is
embedded once with each backbone: the folder `store` in `--output` keeps the embeddings. Each run is
one file below `--output`. The same command again goes on where it was interrupted, and takes up
data sets that have been added.

`--estimate` does nothing of this. It prints how long all of it takes, see `paper_estimate.py`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import click

from keras_cmm_cli.environment import hide_tensorflow, wait_passively

if __name__ == "__main__":  # As the command does, before anything imports Keras.
    hide_tensorflow()
    wait_passively()

from keras_cmm.data import BENCHMARKS
from keras_cmm_cli.commands.benchmark import METHODS
from keras_cmm_cli.main import cli
from keras_cmm_cli.runs_folder import read_records

# The shifts of ImageNet have test images alone, and the paper's table leaves them out.
DATASETS = tuple(name for name, each in BENCHMARKS.items() if "train" in each.splits)
PRESETS = ("clip_vit_base_patch16", "hf://timm/resnet50_clip.openai")


def names(text: str) -> tuple[str, ...]:
    """Returns the names of `a,b`."""
    return tuple(text.split(","))


def keras_cmm(*arguments: object) -> int:
    """Runs a command of `keras-cmm`, and returns its exit code."""
    return cli.main([str(each) for each in arguments], standalone_mode=False) or 0


def folder_of(output: Path, preset: str) -> Path:
    """Returns the folder of a backbone's runs."""
    return output / Path(preset).name


def run(given: dict[str, object], output: Path, preset: str) -> int:
    """Embeds and runs what is missing with one backbone; a data set that fails stops no other."""
    options = [part for name, value in given.items() for part in (f"--{name}", value)]
    return keras_cmm(
        "benchmark",
        *options,
        *("--preset", preset),
        *("--output-dir", folder_of(output, preset)),
        *("--store", output / "store"),
    )


def tables(output: Path, preset: str, wanted: Sequence[str], style: str) -> None:
    """Prints the tables of one backbone, and over how many data sets its average is."""
    runs = folder_of(output, preset)
    there: set[str] = set()
    if runs.exists():
        there = {record["dataset"] for record in read_records(runs)[0]}
    if there:
        keras_cmm("aggregate", runs, "--format", style, "--no-published")
    missing = [name for name in wanted if name not in there]
    line = f"{preset}: {len(there)} of {len(wanted)} data sets are in the average."
    click.echo(line + (f" Missing: {', '.join(missing)}." if missing else ""))


@click.command(help=(__doc__ or "").split("\n\n", maxsplit=1)[0])
@click.argument("data_dir", required=False, type=click.Path(exists=True, file_okay=False))
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Working folder.")
@click.option("--protocol", default="coop", show_default=True, type=click.Choice(("coop", "tfds")))
@click.option("--presets", default=",".join(PRESETS), show_default=True)
@click.option("--datasets", default=",".join(DATASETS), show_default=True)
@click.option("--methods", default=METHODS, show_default=True)
@click.option("--shots", default="1,2,4,8,16", show_default=True)
@click.option("--seeds", default="1,2,3", show_default=True)
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--format",
    "style",
    default="markdown",
    show_default=True,
    type=click.Choice(("markdown", "latex", "table")),
)
@click.option("--estimate", is_flag=True, help="Print how long it takes, and do nothing else.")
@click.option(
    "--gpu-images",
    default="2330,4126",
    show_default=True,
    help="Assumed by --estimate: images a second of ViT-B/16 and of RN50 on the GPU. The default "
    "is timm's results/benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv, for "
    "vit_base_patch16_clip_quickgelu_224 and resnet50_clip.",
)
@click.option("--cores", default=16, show_default=True, help="For --estimate.")
def main(
    data_dir,
    output,
    protocol,
    presets,
    datasets,
    methods,
    shots,
    seeds,
    batch_size,
    style,
    estimate,
    gpu_images,
    cores,
) -> None:
    """Makes the table, or prints how long it takes."""
    wanted = names(datasets)
    for name in wanted:
        if name not in DATASETS:
            raise click.UsageError(f"--datasets must be among {', '.join(DATASETS)}. Got: {name}")
    if estimate:
        from paper_estimate import Work, print_estimate

        work = Work(
            [BENCHMARKS[name] for name in wanted],
            names(methods),
            [int(each) for each in names(shots)],
            len(names(seeds)),
        )
        print_estimate(work, cores, [float(each) for each in names(gpu_images)], batch_size)
        return
    if data_dir is None or output is None:
        raise click.UsageError("give DATA_DIR and --output, or --estimate.")
    folders = [folder_of(output, preset).name for preset in names(presets)]
    if len(set(folders)) < len(folders) or "store" in folders:
        raise click.UsageError(f"the last parts of --presets must differ. Got: {presets}")
    given = {
        "dataset": datasets,
        "data-dir": data_dir,
        "protocol": protocol,
        "methods": methods,
        "shots": shots,
        "seeds": seeds,
        "batch-size": batch_size,
    }
    codes = [run(given, output, preset) for preset in names(presets)]
    for preset in names(presets):
        tables(output, preset, wanted, style)
    raise click.exceptions.Exit(max(codes))


if __name__ == "__main__":
    main()
