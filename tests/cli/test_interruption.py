"""What ends a command from outside: signals, and too little memory."""

import os
import signal
import subprocess
import sys

import click
import pytest

from keras_cmm_cli.main import cli
from keras_cmm_cli.terminal import with_terminal

# A test run in the background of a shell, or under `nohup`, passes on that signals are ignored.
LISTEN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""
PROGRAM = """
import sys, time
from pathlib import Path
import click
from keras_cmm_cli import main
from keras_cmm_cli.outputs import new_folder
from keras_cmm_cli.terminal import with_terminal
import keras_cmm
place = Path(sys.argv.pop())

def body(terminal):
    with new_folder(place) as folder:
        (folder / "weights").write_text("half")
        terminal.result("writing")
        time.sleep({seconds})

main.cli.add_command(click.command("extra")(with_terminal(body)))
main.main()
"""


def start(place, seconds=60, before=()):
    code = ("" if before else LISTEN) + PROGRAM.format(seconds=seconds)
    command = [*before, sys.executable, "-W", "ignore", "-c", code, "extra", str(place)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_cleans_up(tmp_path, name):
    (tmp_path / "model").mkdir()
    with start(tmp_path / "model") as process:
        process.send_signal(getattr(signal, name))
        _, stderr = process.communicate()
    assert process.returncode == 128 + getattr(signal, name)
    assert stderr.split() == ["Interrupted."]
    assert [path.name for path in tmp_path.rglob("*")] == ["model"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_nohup_is_obeyed(tmp_path):
    with start(tmp_path / "model", seconds=0.5, before=["nohup"]) as process:
        process.send_signal(signal.SIGHUP)
        process.communicate()
    assert process.returncode == 0
    assert (tmp_path / "model" / "weights").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes."),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_too_little_memory_is_one_line(run, error):
    def body(terminal):
        raise error

    cli.add_command(click.command("extra")(with_terminal(body)))
    try:
        result = run("extra")
    finally:
        cli.commands.pop("extra")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: there is not enough memory; ")
    assert result.stderr.count("\n") == 1
