"""The output of a command: results go to stdout, everything else to stderr."""

import contextlib
import functools
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec

import click

P = ParamSpec("P")

# Wide enough for every table; a file or pipe has no width of its own.
_WIDTH_OF_FILES = 160

# A table in fewer columns would show single letters. The terminal folds its lines.
_LEAST_WIDTH = 60

# What moves the cursor, changes colours or hides text: the control characters, line separators,
# embeddings and overrides of the direction of writing, and halves of characters.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_BREAK = re.compile(r"\s*[\t\n\v\f\r\x85\u2028\u2029]\s*")


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
        self.stdout = Console(file=sys.stdout, width=_width(sys.stdout))
        self.stderr = Console(file=sys.stderr, stderr=True, width=_width(sys.stderr))
        self.verbose = verbose
        self.quiet = quiet

    @property
    def plus_minus(self) -> str:
        """The sign before a standard deviation, in characters that stdout can print."""
        return "±" if self.stdout.encoding.startswith("utf") else "+-"

    def result(self, result: Any) -> None:
        """Prints a result to stdout: lines of text, neither wrapped nor styled, or a rich table."""
        if isinstance(result, str):
            self.stdout.file.write(visible_lines(result) + "\n")
            self.stdout.file.flush()
        else:
            self.stdout.print(_VisibleTexts(result))

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
        from rich.text import Text

        if not self._is_watched:
            return contextlib.nullcontext()
        return self.stderr.status(Text(visible(description)), spinner="line")

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
        # rich before 14.3 ends a bar that is disabled with an empty line.
        with bar if self._is_watched else contextlib.nullcontext():
            task = bar.add_task(visible(description), total=None)

            def update(done: int, total: int, description: str | None = None) -> None:
                shown = None if description is None else visible(description)
                bar.update(task, completed=done, total=total, description=shown)

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


class _VisibleTexts:
    """A rich table or group without hidden characters but the terminal codes that rich makes."""

    def __init__(self, renderable: Any) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        for segment in console.render(self._renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=visible_lines(segment.text))


def visible(text: str) -> str:
    r"""Replaces hidden characters by what Python and JSON write for them.

    Class names, file names and metadata come from others. Printed as they are, they could move the
    cursor, forge lines or swap letters.

    Example:
        >>> visible("cat\x1b[31m\n")
        'cat\\u001b[31m\\n'
    """
    short = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
    return _HIDDEN.sub(lambda found: short.get(found[0], f"\\u{ord(found[0]):04x}"), text)


def visible_lines(text: str) -> str:
    """Does what `visible` does to each line of a text."""
    return "\n".join(map(visible, text.split("\n")))


def one_line(text: str) -> str:
    """Replaces line breaks and tabs by one space, and makes other control characters visible."""
    return visible(_LINE_BREAK.sub(" ", text).strip())


def _width(file: Any) -> int:
    """Returns the width of an output, which is never too small for a table or a line of text.

    A terminal may say that it has no columns, as some do that are run by a program.
    """
    if not file.isatty():
        return _WIDTH_OF_FILES
    return max(_LEAST_WIDTH, shutil.get_terminal_size().columns)


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
            from keras_cmm_runtime import InputError

            if not isinstance(error, InputError):
                raise
            raise click.ClickException(str(error)) from error

    return body
