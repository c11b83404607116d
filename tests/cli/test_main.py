import contextlib
import errno
import json
import os
import shlex
import subprocess
import sys

import click
import pytest

from keras_cmm_cli.main import cli
from keras_cmm_cli.terminal import with_terminal

COMMANDS = sorted(cli.commands)
# With the commands of a group in the place of the group.
LEAVES = [
    (name, *sub)
    for name, command in sorted(cli.commands.items())
    for sub in ([(each,) for each in command.commands] if hasattr(command, "commands") else [()])
]


def test_no_arguments_is_help(run):
    assert run().stdout == run("--help").stdout == run("-h").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in run().stdout


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_help(run, names):
    text = run(*names, "--help").stdout
    example = text.partition("Example")[2]
    assert f"\n    keras-cmm {' '.join(names)}" in example
    for option in ("--seed", "--verbose", "--quiet", "--help"):
        assert option in text


def test_help_imports_nothing_heavy():
    # `None` stands in `sys.modules` for what the command hides from Keras.
    code = (
        "import sys\n"
        "from keras_cmm_cli.main import main\n"
        "sys.argv = ['keras-cmm', *sys.argv[1:]]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    heavy = {'keras', 'keras_cmm', 'torch', 'tensorflow', 'numpy', 'rich'}\n"
        "    found = {name for name in heavy if sys.modules.get(name) is not None}\n"
        "    print(sorted(found), file=sys.stderr)\n"
    )
    for arguments in (
        [],
        ["--version"],
        ["fit", "--help"],
        ["benchmark", "none"],
        ["fit", "none"],
        ["datasets", "check"],
    ):
        ran = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--help"], capture_output=True, text=True
        )
        assert ran.stderr.splitlines()[-1] == "[]"


def test_version(run):
    from keras_cmm import __version__

    assert __version__ in run("--version").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fitt"], ["fitt"]),
        (["--foo"], ["--foo"]),
        (["fit"], ["--output"]),
        (["fit", ".", "--output", "o"], ["--preset"]),
        (["fit", "--preset", "p", "--output", "o", "--shots", "0"], ["'0'", "--shots"]),
        (["fit", "--preset", "p", "--output", "o", "--shots", "some"], ["'some'"]),
        (["fit", "--preset", "p", "--output", "o", "--epochs", "0"], ["--epochs"]),
        (["fit", "--preset", "p", "--output", "o", "--dtype", "int8"], ["int8", "bfloat16"]),
        (["fit", "none", "--preset", "p", "--output", "o"], ["none", "does not exist"]),
        (["fit", "--preset", "p", "--output", "o"], ["IMAGES_DIR", "--csv"]),
        (["predict", "none", "x.png"], ["none", "does not exist"]),
        (["predict", "."], ["IMAGES"]),
        (["predict", ".", "none.png"], ["none.png", "does not exist"]),
        (["predict", ".", ".", "--top-k", "0"], ["--top-k"]),
        (["predict", ".", ".", "--format", "xml"], ["xml", "csv"]),
        (["evaluate", "none", "."], ["none", "does not exist"]),
        (["embed", ".", "--preset", "p", "--output", "o", "--test-fraction", "1"], ["fraction"]),
        (["benchmark"], ["EMBEDDINGS_FILE"]),
        (["benchmark", "x", "--shots", "1,,2"], ["'1,,2'"]),
        (["benchmark", "x", "--shots", "1,-2"], ["'-2'"]),
        (["benchmark", "x", "--seeds", "1,x"], ["'x'"]),
        (["benchmark", "x", "--seeds", "1.5"], ["'1.5'"]),
        (["benchmark", "x", "--methods", "nearest_mean,svm"], ["'svm'", "nearest_mean"]),
        (["benchmark", "x", "--resume"], ["--output"]),
    ],
)
def test_bad_options_are_one_line(refused, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused(*arguments)
    for word in words:
        assert word in line
    assert not list(tmp_path.iterdir())


@pytest.fixture
def extra(run):
    """Adds a command for one test; returns a function that runs it with a given body."""

    def run_body(body, *options):
        cli.add_command(click.command("extra")(with_terminal(body)))
        return run("extra", *options)

    yield run_body
    cli.commands.pop("extra")


def test_interruption(extra):
    def interrupt(terminal):
        raise KeyboardInterrupt

    result = extra(interrupt)
    assert result.exit_code == 130
    assert result.stderr.split() == ["Interrupted."]


def test_what_libraries_print_and_warn_goes_to_stderr(extra):
    def noisy(terminal):
        import warnings

        print("printed")
        warnings.warn("first\n  second  [bold]third[/bold] :dog: " + 30 * "long ", stacklevel=1)
        warnings.warn("not for users", DeprecationWarning, stacklevel=1)
        terminal.result("result")
        terminal.note("noted")
        terminal.detail("detailed")

    result = extra(noisy)
    assert result.stdout == "result\n"
    lines = result.stderr.splitlines()
    assert lines[0] == "printed"
    assert lines[1].startswith("Warning: first second  [bold]third[/bold] :dog: long")
    assert lines[2:] == ["noted"]
    assert "detailed" in extra(noisy, "--verbose").stderr
    assert "noted" not in extra(noisy, "--quiet").stderr
    assert "Warning" in extra(noisy, "--quiet").stderr


def test_an_input_error_is_one_line_and_a_bug_is_not_hidden(extra):
    from keras_cmm import InputError

    def mistaken(terminal):
        raise InputError("the  file\x1b is\t\r\n\u2028 not good.\n")

    def buggy(terminal):
        raise ValueError("a bug")

    result = extra(mistaken)
    assert (result.exit_code, result.stderr) == (2, "Error: the  file\\u001b is not good.\n")
    with pytest.raises(ValueError, match="a bug"):
        extra(buggy)


def test_no_progress_bar_where_nobody_looks(extra):
    def work(terminal):
        with terminal.progress("working") as progress:
            progress(1, 2)
            progress(2, 2, "ready")

    assert extra(work).output == ""


def extra_program(body):
    """Returns a Python command line that runs `keras-cmm` with a command `extra`."""
    code = (
        "import click\n"
        "from keras_cmm_cli import main\n"
        "from keras_cmm_cli.terminal import with_terminal\n"
        f"body = with_terminal(lambda terminal: {body})\n"
        "main.cli.add_command(click.command('extra')(body))\n"
        "main.main()\n"
    )
    return [sys.executable, "-c", code]


_RICH = "terminal.result(__import__('rich.text').text.Text('x'))"


@pytest.mark.parametrize(
    ("body", "arguments", "stdout", "reason"),
    [
        ("terminal.result('x')", ["extra"], ">/dev/full", "No space left on device"),
        (_RICH, ["extra"], ">/dev/full", "No space left on device"),
        ("terminal.result('x')", ["--help"], ">/dev/full", "No space left on device"),
        ("terminal.result('x')", ["extra"], "1</dev/null", "Bad file descriptor"),
        # Before the work is done.
        ("1 / 0", ["extra"], ">&-", "stdout is closed"),
    ],
)
def test_results_that_cannot_be_written_are_one_line(body, arguments, stdout, reason):
    command = shlex.join([*extra_program(body), *arguments])
    ran = subprocess.run(["sh", "-c", f"{command} {stdout}"], capture_output=True, text=True)
    assert ran.stderr == f"Error: the output cannot be written ({reason}).\n"
    assert ran.returncode == 2


def test_other_errors_of_the_system_are_not_hidden(extra):
    def unlucky(terminal):
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    with pytest.raises(ConnectionResetError):
        extra(unlucky)


def test_nobody_reads_the_results_to_their_end():
    command = shlex.join([*extra_program("terminal.result('x\\n' * 100_000)"), "extra"])
    ran = subprocess.run(["sh", "-c", f"{command} | head -n 1"], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("x\n", "")


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&1 >/dev/tty | true", "2>&-"])
def test_the_work_goes_on_where_messages_cannot_be_written(stderr, tmp_path):
    body = (
        "([terminal.note('x' * 70_000) for _ in range(9)], print('x' * 70_000), "
        "terminal.error('e'), __import__('warnings').warn('w'), "
        f"open({str(tmp_path / 'model')!r}, 'w').close())"
    )
    command = shlex.join([*extra_program(body), "extra"])
    stderr = stderr.replace(">/dev/tty", f">{tmp_path / 'results'}")
    subprocess.run(["sh", "-c", f"{command} {stderr}"], capture_output=True, check=True)
    assert (tmp_path / "model").exists()


@pytest.mark.parametrize("columns", ["0", "1", "-3", "wide", ""])
def test_a_terminal_without_columns(columns):
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    program = extra_program("(__import__('warnings').warn('look out'), terminal.result(TABLE))")
    table = "from keras_cmm_cli.result_table import ResultTable\n"
    table += (
        "TABLE = ResultTable('Heading', ['name', 'top-1'], [['zero_shot', '61.5']]).to_rich()\n"
    )
    program[2] = table + program[2]
    with os.fdopen(parent, "rb", buffering=0) as screen:
        ran = subprocess.Popen(
            [*program, "extra"], stdout=child, stderr=child, env=os.environ | {"COLUMNS": columns}
        )
        os.close(child)
        shown = b""
        with contextlib.suppress(OSError):  # The end, on Linux.
            while part := screen.read(1000):
                shown += part
        assert ran.wait() == 0
    for words in (b"Warning: look out", b"Heading", b"zero_shot", b"61.5"):
        assert words in shown


@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", "2>&- <&-"])
def test_messages_that_cannot_be_written_cost_no_result(streams):
    def ran(body):
        command = shlex.join([*extra_program(body), "extra"])
        ran = subprocess.run(["sh", "-c", f"{command} {streams}"], stdout=subprocess.PIPE)
        return ran.returncode, ran.stdout

    assert ran("(terminal.note('n'), __import__('os').dup(2), terminal.result('x'))") == (0, b"x\n")
    assert ran("(_ for _ in ()).throw(click.ClickException('no'))") == (2, b"")


def test_a_class_name_that_stdout_cannot_print():
    ran = subprocess.run(
        [*extra_program("terminal.result('caf\\u00e9')"), "extra"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert ran.stdout == b"caf\\xe9\n"
    assert json.loads(f'"{ran.stdout.decode().strip().replace("x", "u00")}"') == "café"
