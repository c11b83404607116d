"""The output of a command: results go to stdout, everything else to stderr."""

import contextlib
import functools
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec

import click

P = ParamSpec("P")

# Wide enough for every table; a file or pipe has no width of its own.
_WIDTH_OF_FILES = 160

_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"


class Terminal:
    """Output of one command.

    Args:
        verbose: Show details too.
        quiet: Show results, warnings and errors only.
    """

    def __init__(self, verbose: bool = False, quiet: bool = False) -> None:
        from rich.console import Console

        # Python has no stdout if it is closed. The error comes before the work is done.
        if sys.stdout is None:
            raise click.ClickException("the output cannot be written (stdout is closed).")
        width = None if sys.stdout.isatty() else _WIDTH_OF_FILES
        self.stdout = Console(file=sys.stdout, width=width)
        self.stderr = Console(file=sys.stderr, stderr=True)
        self.verbose = verbose
        self.quiet = quiet

    @property
    def plus_minus(self) -> str:
        """The sign before a standard deviation, in characters that stdout can print."""
        return "±" if self.stdout.encoding.startswith("utf") else "+-"

    def result(self, result: Any) -> None:
        """Prints a result to stdout: a text, exactly as it is, or a rich table."""
        if isinstance(result, str):
            self.stdout.file.write(result + "\n")
            self.stdout.file.flush()
        else:
            self.stdout.print(result)

    def note(self, text: str) -> None:
        """Prints a note to stderr, unless `--quiet`."""
        if not self.quiet:
            self._say(text)

    def detail(self, text: str) -> None:
        """Prints a detail to stderr, with `--verbose` only."""
        if self.verbose:
            self._say(text)

    def error(self, text: str) -> None:
        """Prints an error to stderr, without ending the command."""
        self._say(f"Error: {text}")

    def status(self, description: str) -> contextlib.AbstractContextManager[Any]:
        """Shows a spinner on stderr for work of unknown length; see `progress`."""
        if not self._is_watched:
            return contextlib.nullcontext()
        return self.stderr.status(description, spinner="line")

    @contextlib.contextmanager
    def progress(self, description: str) -> Iterator[Callable[..., None]]:
        """Shows a progress bar on stderr, if that is a terminal and not `--quiet`.

        Args:
            description: The text beside the bar.

        Yields:
            A function of (done, total) and optionally a new description.
        """
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            Remaining(),
            console=self.stderr,
            transient=True,
            disable=not self._is_watched,
        )
        with bar:
            task = bar.add_task(description, total=None)

            def update(done: int, total: int, description: str | None = None) -> None:
                bar.update(task, completed=done, total=total, description=description)

            yield update

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Sends what libraries print to stderr, and shows warnings as one line each."""
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.resetwarnings()
            warnings.simplefilter("default")
            # These are for developers, not for users of the command.
            for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            warnings.simplefilter("ignore", ResourceWarning)
            # Pillow does not name the image. `read_image` names it where that matters.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.showwarning = self._show_warning
            yield

    @property
    def _is_watched(self) -> bool:
        return sys.stderr.isatty() and not self.quiet

    def _show_warning(self, message: Warning | str, *args: Any, **kwargs: Any) -> None:
        self._say(f"Warning: {message}")

    def _say(self, text: str) -> None:
        """Prints one line to stderr, above a progress bar that is showing."""
        # A full disk under stderr must not cost the work. The exit code tells of errors.
        with contextlib.suppress(OSError):
            # Not wrapped, so that the line can be searched and copied.
            self.stderr.print(
                one_line(text), soft_wrap=True, markup=False, highlight=False, emoji=False
            )


def one_line(text: str) -> str:
    """Replaces line breaks and other control characters by one space; other spaces stay."""
    return re.sub(rf"\s*[{_CONTROL}][\s{_CONTROL}]*", " ", text).strip()


def counted(number: int, one: str, more: str) -> str:
    """Returns a number with its noun.

    Example:
        >>> counted(1, "class", "classes"), counted(2000, "class", "classes")
        ('1 class', '2,000 classes')
    """
    return f"{number:,} {one if number == 1 else more}"


def with_terminal(command: Callable[Concatenate[Terminal, P], None]) -> Callable[P, None]:
    """Gives a command a `Terminal`, with the options `--verbose` and `--quiet`.

    An `InputError` becomes an error of click, which `keras_cmm_cli.main` prints as one line.
    """

    @click.option("-v", "--verbose", is_flag=True, help="Show details as well.")
    @click.option("-q", "--quiet", is_flag=True, help="Show results, warnings and errors only.")
    @functools.wraps(command)
    def body(*args: P.args, **kwargs: P.kwargs) -> None:
        terminal = Terminal(bool(kwargs.pop("verbose")), bool(kwargs.pop("quiet")))
        try:
            with terminal.active():
                command(terminal, *args, **kwargs)
        except ValueError as error:
            # The package is imported already if it has raised an InputError.
            from keras_cmm import InputError

            if not isinstance(error, InputError):
                raise
            raise click.ClickException(str(error)) from error

    return body
