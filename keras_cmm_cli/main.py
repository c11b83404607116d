"""The command `keras-cmm`."""

import contextlib
import errno
import importlib.util
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from keras_cmm_cli.commands.aggregate import aggregate
from keras_cmm_cli.commands.audit import audit
from keras_cmm_cli.commands.benchmark import benchmark
from keras_cmm_cli.commands.convert import convert
from keras_cmm_cli.commands.datasets import datasets
from keras_cmm_cli.commands.demo import demo
from keras_cmm_cli.commands.embed import embed
from keras_cmm_cli.commands.evaluate import evaluate
from keras_cmm_cli.commands.explain import explain
from keras_cmm_cli.commands.export import export
from keras_cmm_cli.commands.fit import fit
from keras_cmm_cli.commands.grow import grow
from keras_cmm_cli.commands.predict import predict
from keras_cmm_cli.commands.presets import presets
from keras_cmm_cli.commands.push import push
from keras_cmm_cli.commands.serve import serve
from keras_cmm_cli.commands.store import store
from keras_cmm_cli.commands.studio import studio
from keras_cmm_cli.commands.suggest import suggest
from keras_cmm_cli.environment import NEEDS_KERAS, hide_tensorflow, wait_passively
from keras_cmm_cli.terminal import one_line

_OF_SIGNALS = 128  # In shells the exit code of a signal is its number and this.

# A full disk or quota, a file that is too large, a stdout that is open for reading only.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF)

# What torch, JAX and TensorFlow say, each in an error of its own.
_NO_MEMORY = re.compile("out of memory|allocate memory|not enough memory|RESOURCE_EXHAUSTED|OOM ")


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which end a command as Ctrl-C does.

    Args:
        number: The number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


# keras-cmm-runtime, which has no Keras, can run these.
_WITHOUT_KERAS = ("evaluate", "predict", "serve")


class _Group(click.Group):
    """A group whose errors are one line on stderr and exit code 2."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Returns the command that the arguments name, unless it needs what is not installed."""
        found = super().resolve_command(ctx, args)
        if found[0] not in _WITHOUT_KERAS and importlib.util.find_spec("keras_cmm") is None:
            raise click.ClickException(f"{found[0]} {NEEDS_KERAS}")
        return found

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, standalone_mode: bool = True, **kwargs: Any
    ) -> Any:
        """Runs the command that the arguments name; see `click.Command.main`."""
        try:
            result = super().main(args, standalone_mode=False, **kwargs)
        except click.ClickException as error:
            if not standalone_mode:
                raise
            _say(f"Error: {_one_line(error)}")
            sys.exit(2)
        except click.Abort as error:
            if not standalone_mode:
                raise
            _say("Interrupted.")
            sys.exit(_OF_SIGNALS + getattr(error.__cause__, "number", signal.SIGINT))
        except Exception as error:
            message = _message_of_the_system(error)
            if not standalone_mode or message is None:
                raise
            _say(f"Error: {one_line(message)}")
            sys.exit(2)
        if standalone_mode:
            sys.exit(result or 0)
        return result


def _show_version(context: click.Context, parameter: Any, given: bool) -> None:
    if not given:
        return
    from importlib.metadata import PackageNotFoundError, version

    for name in ("keras-cmm", "keras-cmm-runtime"):
        with contextlib.suppress(PackageNotFoundError):
            click.echo(f"{name}, version {version(name)}")
            context.exit()


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Few-shot image classification with Cross-Modal Mapping (CMM) on frozen CLIP.

    Results go to stdout, everything else to stderr. A mistake in options or files ends with one
    line and exit code 2, Ctrl-C with 130.

    Keras runs on torch, unless KERAS_BACKEND or your keras.json names another backend.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (
    demo,
    fit,
    evaluate,
    predict,
    export,
    explain,
    grow,
    suggest,
    audit,
    embed,
    benchmark,
    aggregate,
    presets,
    convert,
    datasets,
    push,
    serve,
    store,
    studio,
):
    cli.add_command(_command)


def main() -> None:
    """Runs `keras-cmm` with the arguments of the process."""
    if sys.stderr is None:  # closed; another file must not get its number, 2
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = os.fdopen(2, "w")
    elif isinstance(sys.stderr, io.TextIOWrapper):
        # Not closed at exit, which a new text file on the same number would do.
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Messages(sys.stderr.fileno())),
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
            write_through=True,
        )
    # A file name or class name may have characters that the terminal lacks.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # `nohup` ignores SIGHUP, and that is to stay so.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    hide_tensorflow()
    wait_passively()
    cli.main(prog_name="keras-cmm")


def _terminate(number: int, frame: Any) -> None:
    raise _Terminated(number)


def _say(text: str) -> None:
    # stderr may lie on a full disk. The exit code tells of the error all the same.
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _message_of_the_system(error: Exception) -> str | None:
    """Returns the message for a full disk or memory, or `None` for another error."""
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        return f"{error.filename or 'the output'} cannot be written ({error.strerror})."
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return (
            "there is not enough memory; close other programs, give a smaller --batch-size or use "
            "a smaller model."
        )
    return None


class _Messages(io.RawIOBase):
    """What is written to stderr. A message that cannot be written does not end the command.

    Whoever reads the messages may stop, or the disk that they go to may be full. The work goes on:
    a model is not lost for a warning.
    """

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, data: Any) -> int:
        """Writes bytes, or drops them."""
        try:
            return os.write(self._number, data)
        except OSError:
            return len(data)

    def writable(self) -> bool:
        """Returns that it can be written to."""
        return True

    def fileno(self) -> int:
        """Returns the number of the file."""
        return self._number

    def isatty(self) -> bool:
        """Returns whether a person reads the messages."""
        return os.isatty(self._number)


def _one_line(error: click.ClickException) -> str:
    message = one_line(error.format_message())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        message += f" (see {error.ctx.command_path} --help)"
    return message
