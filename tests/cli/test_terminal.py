"""Names that come from others: they do not reach a terminal or a spreadsheet as commands."""

import csv
import io
import json
import sys

import click
import pytest
from rich.console import Console

from keras_cmm_cli.commands.evaluate import _tables
from keras_cmm_cli.commands.predict import _as_csv, _as_json, _as_table
from keras_cmm_cli.result_table import ResultTable, to_csv
from keras_cmm_cli.terminal import Terminal, one_line, visible

# Colour, a title, a cleared screen; the same by one character; a bell; a forged line; letters that
# are swapped; a half of a character.
HOSTILE = (
    "cat\x1b[31m",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "\x7f\x08\x00",
    "a\nError: b",
    "a\rb",
    "a\u2028b",
    "\u202egnp.tac\u202c",
    "\u2066x\u2069",
    "\udc80",
)


UNSAFE = (
    *(number for number in (*range(32), *range(127, 160)) if chr(number) != "\n"),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
)


def is_safe(text):
    return not set(map(ord, text)) & set(UNSAFE)


@pytest.fixture
def terminal(monkeypatch):
    """A terminal, and the texts that reach stdout and stderr."""

    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", Screen())
    monkeypatch.setattr(sys, "stderr", Screen())
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    return Terminal(verbose=True), sys.stdout, sys.stderr


@pytest.mark.parametrize("name", HOSTILE)
def test_every_way_to_the_terminal(name, terminal):
    terminal, stdout, stderr = terminal
    predictions = [(name, [(name, 0.9), (name, 0.1)], ""), (name, [], name)]
    table = ResultTable(name, ["method", name], [[name, "1.0"]], [name])
    accuracy = {"images": 1, "top1": 1.0, "top1_interval": [0.2, 1.0]}
    measures = accuracy | {"classes": 1, "macro_f1": 1.0, "trained_on": 0}
    measures["per_class"] = {name: accuracy}
    terminal.result(_as_csv(predictions))
    terminal.result(_as_json(predictions))
    terminal.result(_as_table(predictions))
    for each in _tables(measures):
        terminal.result(each)
    terminal.result(table.to_rich())
    terminal.result(table.to_markdown())
    terminal.result(table.to_latex())
    terminal.result(name)
    terminal.note(name)
    terminal.detail(name)
    terminal.error(name)
    with terminal.status(name), terminal.progress(name) as progress:
        progress(1, 2, name)
    assert is_safe(stdout.getvalue())
    assert is_safe(stderr.getvalue())
    # One line each, whatever is in the name.
    for text in (_as_csv(predictions), table.to_latex()):
        assert "\nError: b" not in text
    assert json.loads(_as_json(predictions))[0]["image"] == name


@pytest.mark.parametrize("name", HOSTILE)
def test_errors_and_warnings(name, run):
    from keras_cmm_cli.main import cli
    from keras_cmm_cli.terminal import with_terminal

    def body(terminal):
        import warnings

        warnings.warn(name, stacklevel=1)
        raise click.ClickException(name)

    cli.add_command(click.command("extra")(with_terminal(body)))
    try:
        result = run("extra")
    finally:
        cli.commands.pop("extra")
    assert is_safe(result.stderr)
    lines = result.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Warning", "Error"]


def test_names_in_all_scripts_stay():
    names = ("caf\u00e9", "\u732b", "\u05d7\u05ea\u05d5\u05dc", "\U0001f469\u200d\U0001f33e")
    for name in names:
        assert visible(name) == one_line(name) == name
    assert one_line(" a\n b\t c ") == "a b c"


@pytest.mark.parametrize(
    "name",
    [
        *("=1+1", '=HYPERLINK("http://evil")', "+1+cmd|' /C calc'!A0", "-1+1", "@SUM(1)", " =1"),
        *("\t=1", "\r=1", "\uff1d1", "x;=1+1", 'x";=1', "x,=1+1"),
    ],
)
def test_no_cell_of_a_csv_is_a_formula(name):
    text = to_csv(("image", "class"), [(name, "cat"), ("b.png", "dog")])
    for separator in ",;\t":
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            for cell in row if separator == "," or not name.startswith("x") else row[1:]:
                assert not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))
    cell = next(iter(csv.DictReader(io.StringIO(text))))["image"]
    assert cell.removeprefix("'") == visible(name)


def test_numbers_of_a_csv_stay_as_they_are():
    rows = [(-1.5, "-1.5", "+2", "-inf", "1e-3", 3, "", "cat")]
    assert to_csv("abcdefgh", rows).splitlines()[1] == "-1.5,-1.5,+2,-inf,1e-3,3,,cat"


def test_markdown_cells_stay_cells():
    text = ResultTable("h", ["method"], [[r"a|b\|<img src=x>"]]).to_markdown()
    assert text.splitlines()[-1] == r"| a\|b\\\|&lt;img src=x> |"


def test_long_names_are_folded_in_a_narrow_terminal():
    name = "a-very-long-name-of-a-method-" * 3
    console = Console(file=io.StringIO(), width=60)
    console.print(ResultTable("h", ["method", "top-1"], [[name, "61.5"]]).to_rich())
    shown = console.file.getvalue()
    assert "61.5" in shown
    assert name in "".join(line[:52].strip() for line in shown.splitlines())
