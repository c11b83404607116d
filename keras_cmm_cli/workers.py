"""Images in parts, made by several processes or machines."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.environment import choose_backend, hide_tensorflow, wait_passively
from keras_cmm_cli.options import is_given
from keras_cmm_cli.terminal import Terminal, counted

if TYPE_CHECKING:
    from keras_cmm_runtime.scale import EngineOptions, ShardReport

ENGINES = ("local", "ray")
"""Engines that work in parts."""
_SHARD_SIZE = 1000
_MOST_TOLD = 5


def workers_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of `--engine local` and `--engine ray`, as `workers`."""

    @functools.wraps(command)
    def body(*args: Any, **kwargs: Any) -> Any:
        names = ("address", "num_workers", "gpus_per_worker", "decoders", "shard_size")
        return command(*args, workers=WorkersGiven(*(kwargs.pop(name) for name in names)), **kwargs)

    for option in (
        click.option(
            "--shard-size",
            type=click.IntRange(min=1),
            default=_SHARD_SIZE,
            show_default=True,
            help="With --engine local or ray, images of a part, where they are files.",
        ),
        click.option(
            "--decoders",
            type=click.IntRange(min=0),
            help="With --engine ray, tasks that decode images for each worker.  [default: 0 on "
            "CPUs, 4 with GPUs]",
        ),
        click.option(
            "--gpus-per-worker",
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="With --engine ray, GPUs of a worker; 0.5 lets two share one.",
        ),
        click.option(
            "--num-workers",
            type=click.IntRange(min=1),
            help="With --engine local or ray, processes that hold the model.  [default: one for "
            "each core, or for each GPU]",
        ),
        click.option(
            "--address",
            help="With --engine ray, the cluster, such as auto.  [default: one on this machine]",
        ),
    ):
        body = option(body)
    return body


@dataclass(frozen=True)
class WorkersGiven:
    """The workers that a command is given.

    Args:
        address: Address of a Ray cluster, or `None`.
        num_workers: Number of workers, or `None`.
        gpus_per_worker: GPUs of a worker.
        decoders: Tasks that decode for a worker, or `None`.
        shard_size: Images of a part.
    """

    address: str | None
    num_workers: int | None
    gpus_per_worker: float
    decoders: int | None
    shard_size: int

    def refuse(self) -> None:
        """Raises a usage error if an option of the workers is given without them."""
        for name in ("address", "num_workers", "gpus_per_worker", "decoders", "shard_size"):
            if is_given(name):
                option = name.replace("_", "-")
                raise click.UsageError(f"--{option} needs --engine local or --engine ray.")

    def options(self, engine: str) -> EngineOptions:
        """Returns what `keras_cmm_runtime.scale` takes."""
        from keras_cmm_runtime.scale import EngineOptions

        return EngineOptions(
            engine,
            self.num_workers,
            self.gpus_per_worker,
            self.decoders,
            self.address,
            set_up_worker,
        )


def refuse_with_parts(*names: str) -> None:
    """Raises a usage error for an option that has no meaning where images are done in parts."""
    for name in filter(is_given, names):
        option = name.replace("_", "-")
        raise click.UsageError(f"--{option} and --engine local or ray exclude each other.")


def set_up_worker() -> None:
    """Makes a worker's process as that of a command: no TensorFlow, and threads that sleep."""
    wait_passively()
    hide_tensorflow()
    choose_backend()


def tell_report(terminal: Terminal, output: str, report: ShardReport) -> None:
    """Prints what became of the parts.

    Raises:
        ClickException: If parts failed.
    """
    parts = counted(len(report.shards), "part", "parts")
    terminal.result(
        f"{output}: {counted(report.rows, 'row', 'rows')} in {parts}, {report.new} of them made now"
        f"; {counted(report.errors, 'image', 'images')} cannot be read."
    )
    if report.errors == report.rows and not report.failed:
        raise click.ClickException(f"{output}: none of the images can be read.")
    if report.failed:
        told = list(report.failed.items())[:_MOST_TOLD]
        for name, reason in told:
            terminal.note(f"{name}: {reason}")
        more = len(report.failed) - len(told)
        raise click.ClickException(
            f"{counted(len(report.failed), 'part', 'parts')} failed"
            + (f" (those above and {more} more)" if more else "")
            + "; run the command again, which makes what is missing."
        )
