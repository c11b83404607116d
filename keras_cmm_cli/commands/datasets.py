"""`keras-cmm datasets`: facts about the benchmarks, and checks of those on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.options import unused_seed_option
from keras_cmm_cli.terminal import Terminal, with_terminal

if TYPE_CHECKING:
    from keras_cmm.data import Benchmark

_PROBLEMS = 1


@click.group(
    epilog="""\b
Examples:
  keras-cmm datasets list
  keras-cmm datasets show eurosat
  keras-cmm datasets check eurosat --data-dir data
"""
)
def datasets() -> None:
    """Show the benchmarks, and check those on disk."""


@datasets.command(
    name="list",
    epilog="""\b
Example:
  keras-cmm datasets list
""",
)
@unused_seed_option
@with_terminal
def list_(terminal: Terminal) -> None:
    """List the 11 benchmarks and 4 shifts of ImageNet.

    The numbers of training, validation and test images are those of the protocol "coop".
    """
    from rich.table import Table

    from keras_cmm_runtime.benchmarks import benchmark_table

    table = Table("NAME", "benchmark", "classes", "train", "val", "test", "in TFDS")
    for name, facts in benchmark_table().items():
        counts = facts["coop_sizes"]
        sizes = [
            f"{counts[split]:,}" if split in counts else "-" for split in ("train", "val", "test")
        ]
        in_tfds = facts.get("tfds_name", name)
        table.add_row(name, facts["title"], str(facts["num_classes"]), *sizes, in_tfds)
    terminal.result(table)


@datasets.command(
    epilog="""\b
Example:
  keras-cmm datasets show eurosat
"""
)
@click.argument("name")
@unused_seed_option
@with_terminal
def show(terminal: Terminal, name: str) -> None:
    """Show the facts about the benchmark NAME, and where to download it."""
    load_keras()
    from keras_cmm.clip import PROMPT_TEMPLATES
    from keras_cmm.data import get_benchmark

    benchmark = get_benchmark(name)
    names = benchmark.class_names
    rows = [
        ("name", [f"{benchmark.name}, in papers {benchmark.title}"]),
        ("classes", [str(benchmark.num_classes)]),
        ("prompt template", list(PROMPT_TEMPLATES[benchmark.prompt_template])),
        ("coop", [_coop_splits(benchmark), *_coop_files(benchmark)]),
        ("tfds", [benchmark.tfds_name, *_tfds_splits(benchmark)]),
        ("get it from", list(benchmark.sources)),
        ("licence", [benchmark.licence]),
        ("traps", list(benchmark.traps)),
        ("class names", [", ".join(names) if names else _names_file(benchmark)]),
    ]
    for title, lines in rows:
        for line in lines:
            terminal.result(f"{title + ':':17}{line}")
            title = ""


@datasets.command(
    epilog="""\b
Examples:
  keras-cmm datasets check eurosat --data-dir data
  keras-cmm datasets check dtd --data-dir ~/tensorflow_datasets --protocol tfds
"""
)
@click.argument("name")
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder that holds the folders of the benchmarks.",
)
@click.option(
    "--protocol",
    type=click.Choice(["coop", "tfds"]),
    default="coop",
    show_default=True,
    help="coop: laid out as CoOp's DATASETS.md says; tfds: prepared by tensorflow-datasets.",
)
@click.option(
    "--every-image", is_flag=True, help="Read every image, not 500 of them; this may take hours."
)
@unused_seed_option
@with_terminal
def check(
    terminal: Terminal,
    name: str,
    data_dir: Path,
    protocol: Literal["coop", "tfds"],
    every_image: bool,
) -> None:
    """Check that the benchmark NAME is complete in --data-dir.

    Each problem is printed with its mend. The exit code is 0 without problems, 1 with problems, and
    2 if the command could not run.
    """
    load_keras(tensorflow=protocol == "tfds")
    from keras_cmm.data import get_benchmark

    benchmark = get_benchmark(name)
    with terminal.status(f"checking {name}"):
        problems = benchmark.check(
            protocol=protocol, data_dir=data_dir.expanduser(), every_image=every_image
        )
    for problem in problems:
        terminal.result(f"- {problem}")
    if problems:
        terminal.note(f"{name}, {protocol}: problems found: {len(problems)}.")
        raise click.exceptions.Exit(_PROBLEMS)
    terminal.result(f"{name}, {protocol}: whole, {_sizes(benchmark, protocol)} images.")


def _sizes(benchmark: Benchmark, protocol: str) -> str:
    sizes = benchmark.coop_sizes if protocol == "coop" else benchmark.tfds_sizes
    return ", ".join(f"{split} {count:,}" for split, count in sizes.items())


def _coop_splits(benchmark: Benchmark) -> str:
    return f"{_sizes(benchmark, 'coop')} images"


def _coop_files(benchmark: Benchmark) -> list[str]:
    folder = benchmark.coop_folder
    files = [f"{folder}/{benchmark.coop_images}".removesuffix("/.") + "/"]
    if benchmark.coop_split_file:
        files.append(f"{folder}/{benchmark.coop_split_file}")
    if benchmark.coop_layout == "aircraft":
        files.append(f"{folder}/variants.txt")
        files.append(f"{folder}/images_variant_train.txt, ..._val.txt, ..._test.txt")
    if benchmark.is_imagenet:
        files.append("imagenet/classnames.txt")
    return files


def _tfds_splits(benchmark: Benchmark) -> list[str]:
    lines = []
    for split, (theirs, start, stop) in benchmark.tfds_splits.items():
        count = benchmark.tfds_sizes[theirs]
        part = "" if (start, stop) == (0, 1) else f", {start:.0%} to {stop:.0%} of each class"
        lines.append(f"{split}: {theirs} ({count:,} images{part})")
    return lines


def _names_file(benchmark: Benchmark) -> str:
    file = benchmark.coop_split_file or "imagenet/classnames.txt"
    return f"in {file}, see https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"
