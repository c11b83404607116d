"""Options that several commands share, and their types."""

from pathlib import Path
from typing import Any, Literal

import click

DTYPES = ("float32", "bfloat16", "float16")

_PRESET_HELP = (
    "CLIP to build on: a keras-hub name such as clip_vit_base_patch16, kaggle://..., hf://... or a "
    "preset folder; a checkpoint, see convert; or emoji_clip_tiny, which comes with the package. "
    "`keras-cmm presets` lists names."
)
preset_option = click.option("--preset", required=True, help=_PRESET_HELP)
fit_preset_option = click.option(
    "--preset",
    help=f"{_PRESET_HELP}  [required, but for embeddings: the model that made them]",
)
batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    show_default="32, or what a CUDA GPU holds",
    help="Images a pass through the backbone.",
)
strict_option = click.option(
    "--strict", is_flag=True, help="Stop at an image that cannot be read, instead of skipping it."
)
MAX_SEED = 2**32 - 1  # What numpy takes.
SEED = click.IntRange(0, MAX_SEED)
RATE = click.FloatRange(0, 1, min_open=True, max_open=True)

seed_option = click.option(
    "--seed", type=SEED, default=1, show_default=True, help="Seed of everything random."
)

unused_seed_option = click.option(
    "--seed",
    type=SEED,
    expose_value=False,
    help="Accepted by every command; nothing is random in this one.",
)
VIEWS = click.IntRange(min=0)

report_option = click.option(
    "--report", type=click.Path(path_type=Path), help="HTML file to write a report to."
)
ranks_option = click.option(
    "--ranks",
    type=click.Path(path_type=Path),
    help="PNG file for the methods' mean ranks over the data sets, and what chance explains "
    "(Nemenyi's critical difference).",
)


class Shots(click.ParamType):
    """A number of images a class, or all of them."""

    name = "shots"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | Literal["all"]:
        """Returns a positive integer or "all"."""
        if value == "all" or isinstance(value, int):
            return value
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"{value!r} is not a whole number >= 1 or 'all'.", param, ctx)
        return number

    def get_metavar(self, *args: Any, **kwargs: Any) -> str:
        """Returns the name of the value in the help."""
        return "K|all"


class CommaSeparated(click.ParamType):
    """One or several values of the same type, separated by commas. Repeated values count once."""

    name = "list"

    def __init__(self, item: click.ParamType, metavar: str) -> None:
        self.item = item
        self.metavar = metavar

    def convert(self, value: Any, param: Any, ctx: Any) -> list[Any]:
        """Returns the values in the order given."""
        if not isinstance(value, str):
            return list(value)
        parts = [part.strip() for part in value.split(",")]
        if not all(parts):
            self.fail(f"{value!r} has an empty value; separate values by one comma.", param, ctx)
        return list(dict.fromkeys(self.item.convert(part, param, ctx) for part in parts))

    def get_metavar(self, *args: Any, **kwargs: Any) -> str:
        """Returns the name of the value in the help."""
        return self.metavar


def is_given(option: str) -> bool:
    """Returns whether an option is on the command line, rather than having its default."""
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.COMMANDLINE


def refuse_together(given: str, other: str) -> None:
    """Raises an error if an option excludes the given one.

    Raises:
        UsageError: If `other` is on the command line.
    """
    if is_given(other):
        raise click.UsageError(
            f"--{given} and --{other.replace('_', '-')} exclude each other; give one."
        )
