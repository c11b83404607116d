"""Ends commands at random moments by SIGKILL and SIGTERM, and looks at what is left.

The output must be the old one or the new one, whole, and never neither. A command that SIGTERM ends
leaves nothing hidden. What one leaves that SIGKILL ends must be gone after the next start.

    python tests/kill_trials.py --runs 100

sends 100 of each signal to `fit --overwrite`, `embed --overwrite` and `convert`, in turn. Half of
them come at any moment of the command, and half while it writes. The package is imported once, and
each command runs in a fork, so that a trial takes seconds. Linux and macOS only.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HIDDEN = ".keras-cmm-*"


@dataclass
class Command:
    """A command, its output and how to tell whether that is whole.

    Args:
        arguments: The arguments for a seed.
        output: The file or folder that it writes.
        seed_of: Returns the seed of a whole output, and raises an error for another.
        keeps: Whether it replaces an output that is there.
    """

    arguments: Callable[[int], list[str]]
    output: Path
    seed_of: Callable[[], int]
    keeps: bool = True
    seconds: float = 0.0


def make_commands(folder: Path) -> dict[str, Command]:
    """Makes pictures and a tiny CLIP in a folder, and the commands on them."""
    # In a fork, so that the threads of TensorFlow do not start in this process.
    if fork(lambda: _make_inputs(folder)) != 0:
        raise RuntimeError((folder / "messages.txt").read_text())
    photos, preset = str(folder / "photos"), str(folder / "clip")
    common = ["--preset", preset, "--no-store", "--overwrite", "--output"]
    outputs = {name: folder / "out" / name for name in ("model", "out.safetensors", "preset")}
    for output in outputs.values():
        output.parent.mkdir(exist_ok=True)
    model, embeddings, converted = outputs.values()
    return {
        "fit": Command(
            lambda seed: ["fit", photos, *common, str(model), "--epochs", "1", "--seed", str(seed)],
            model,
            lambda: _seed_of_model(model),
        ),
        "embed": Command(
            lambda seed: ["embed", photos, *common, str(embeddings), "--seed", str(seed)],
            embeddings,
            lambda: _seed_of_embeddings(embeddings),
        ),
        "convert": Command(
            lambda _: ["convert", preset, str(converted)],
            converted,
            lambda: _check_preset(converted),
            keeps=False,
        ),
    }


def _make_inputs(folder: Path) -> None:
    from cli.folders import write_photos
    from tiny_clip import make_tiny_preset

    write_photos(folder / "photos")
    (folder / "clip").mkdir()
    make_tiny_preset(folder / "clip")


def _seed_of_model(folder: Path) -> int:
    from keras_cmm_runtime.utils import check_digests, foreign_files, read_digests, read_json_object

    check_digests(folder)
    assert foreign_files(folder) == []
    assert {"README.md", "task.weights.h5", "model.weights.h5"} <= set(read_digests(folder) or ())
    return int(read_json_object(folder / "keras_cmm.json")["seed"])


def _seed_of_embeddings(path: Path) -> int:
    from keras_cmm.data import EmbeddingSet

    return int(EmbeddingSet.read(path).protocol.split()[-1])


def _check_preset(folder: Path) -> int:
    from keras_cmm_runtime.utils import check_digests, foreign_files, read_digests

    check_digests(folder)
    assert foreign_files(folder) == []
    assert {"config.json", "model.weights.h5"} <= set(read_digests(folder) or ())
    return 0


def fork(body: Callable[[], object], messages: Path | None = None) -> int:
    """Runs a function in a fork, and returns its exit code."""
    return wait(start(body, messages))


def start(body: Callable[[], object], messages: Path | None = None) -> int:
    """Starts a function in a fork, and returns the id of the process."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        if messages is not None:
            file = os.open(messages, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
        body()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException as error:  # a fork must not run on
        print(repr(error), file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def wait(process: int) -> int:
    """Waits for a process; returns its exit code, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


class Trials:
    """Trials of commands in a folder.

    Args:
        folder: An empty folder.
        seed: Seed of the moments.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.seeds = iter(range(1, 10**6))
        self.ends: Counter[str] = Counter()
        self.commands = make_commands(folder)
        for command in self.commands.values():
            begun = time.monotonic()
            self.run_to_the_end(command)
            command.seconds = time.monotonic() - begun

    def run_to_the_end(self, command: Command) -> None:
        """Runs a command, which must succeed and leave nothing hidden."""
        if not command.keeps:
            shutil.rmtree(command.output, ignore_errors=True)
        seed = next(self.seeds)
        code = wait(self._start(command, seed))
        assert code == 0, self._messages()
        assert command.seed_of() == (seed if command.keeps else 0)
        assert self._hidden(command) == [], self._hidden(command)

    def end(self, name: str, number: int, while_writing: bool) -> str:
        """Ends a command by a signal at a random moment; returns what is left.

        Raises:
            AssertionError: If that is neither the old nor the new output, or something is hidden.
        """
        command = self.commands[name]
        if not command.keeps:
            shutil.rmtree(command.output, ignore_errors=True)
        old = command.seed_of() if command.keeps else None
        seed = next(self.seeds)
        process = self._start(command, seed)
        if while_writing:
            self._wait_for_writing(command, process)
            # Most of what is written takes a thousandth of the time of a command.
            time.sleep(0.1 * command.seconds * self.random.random() ** 3)
        else:
            time.sleep(self.random.uniform(0, 1.1 * command.seconds))
        os.kill(process, number)
        code = wait(process)
        assert code in (0, -number, 128 + number), f"{name}: exit code {code}. {self._messages()}"
        left = "old"
        if command.keeps or command.output.exists():
            found = command.seed_of()
            assert found in (old, seed if command.keeps else 0), f"{name}: seed {found}"
            left = "old" if found == old else "new"
        hidden = self._hidden(command)
        if number == signal.SIGTERM:
            assert hidden == [], f"{name}: SIGTERM left {hidden}"
        if hidden:
            left += ", and hidden files until the next start"
            self.run_to_the_end(command)
        self.ends[f"{name} by {signal.Signals(number).name}: {left}"] += 1
        return left

    def _start(self, command: Command, seed: int) -> int:
        def body() -> None:
            from keras_cmm_cli.main import main

            sys.argv = ["keras-cmm", *command.arguments(seed)]
            main()

        return start(body, self.folder / "messages.txt")

    def _wait_for_writing(self, command: Command, process: int) -> None:
        """Waits until a command has begun to write, or has ended."""
        deadline = time.monotonic() + 10 * command.seconds
        while time.monotonic() < deadline and not self._hidden(command):
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return
            time.sleep(0.001)

    def _hidden(self, command: Command) -> list[str]:
        return sorted(path.name for path in command.output.parent.glob(HIDDEN))

    def _messages(self) -> str:
        return (self.folder / "messages.txt").read_text(errors="replace")


def load_package() -> None:
    """Imports what the forks would each import."""
    from keras_cmm_cli.environment import load_keras

    load_keras()
    import keras_hub  # noqa: F401

    import keras_cmm_cli.main  # noqa: F401
    from keras_cmm import CMMImageClassifier, data  # noqa: F401


def main() -> None:
    """Runs the trials and prints what they left."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10, help="trials with each signal")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    arguments = parser.parse_args()
    load_package()
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), arguments.seed)
        names = list(trials.commands)
        for run in range(arguments.runs):
            for number in (signal.SIGKILL, signal.SIGTERM):
                trials.end(names[run % len(names)], number, while_writing=run % 2 == 1)
        for command in trials.commands.values():
            trials.run_to_the_end(command)
    for end, count in sorted(trials.ends.items()):
        print(f"{count:4} {end}")
    print(f"{2 * arguments.runs} trials, no output lost, nothing hidden left")


if __name__ == "__main__":
    main()
