"""Times commands quiet and beside one process that burns all cores.

`embed`, `demo` and `benchmark` run on the bundled CLIP and pictures, in turns: quiet, then beside a
process that has a busy thread for each core. Printed are the seconds of each and their ratio. Of
two programs that share the cores fairly each takes twice as long, so 2.0 is the least that can be
expected. Run it alone, since "quiet" is what the machine does besides:

    python tests/benchmarks/beside_other_work.py [--turns 3] [--commands embed,benchmark]

`--wait active` lets waiting threads run in a loop, as OpenMP does by itself, to compare. Of `embed`
there is no store, so each turn embeds all pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# hashlib lets other threads run while it hashes, so this one process burns as many cores.
_BURN = """
import hashlib, os, threading
block = bytes(2**24)
def burn():
    while True:
        hashlib.sha256(block)
for _ in range(os.cpu_count() - 1):
    threading.Thread(target=burn, daemon=True).start()
burn()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--commands", default="embed,demo,benchmark")
    parser.add_argument("--wait", choices=("passive", "active"), default="passive")
    arguments = parser.parse_args()
    unset = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    if arguments.wait == "active":
        environment["OMP_WAIT_POLICY"] = "ACTIVE"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment["KERAS_CMM_HOME"] = str(folder / "home")
        # Not timed: it makes what the other commands read.
        run(["demo", "--output", str(folder / "demo"), "--shots", "1"], environment)
        print(f"load {os.getloadavg()[0]:.1f} at the start, threads wait {arguments.wait}")
        for command in arguments.commands.split(","):
            measure(command, folder, environment, arguments.turns)


def measure(command: str, folder: Path, environment: dict[str, str], turns: int) -> None:
    quiet, busy = [], []
    for turn in range(turns):
        quiet.append(seconds_of(command, folder, environment, f"{turn}-quiet"))
        with other_work():
            busy.append(seconds_of(command, folder, environment, f"{turn}-busy"))
    ratios = [b / a for a, b in zip(quiet, busy, strict=True)]
    print(
        f"{command:10} quiet {statistics.median(quiet):6.1f} s, beside other work "
        f"{statistics.median(busy):6.1f} s, ratio {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f} over {turns} turns)",
        flush=True,
    )


def seconds_of(command: str, folder: Path, environment: dict[str, str], name: str) -> float:
    output = folder / f"{command}-{name}"
    demo = folder / "demo"
    arguments = {
        "demo": ["--output", str(output)],
        "embed": [
            str(demo / "pictures"), "--preset", "emoji_clip_tiny", "--no-store",
            "--output", f"{output}.safetensors",
        ],
        "benchmark": [
            str(demo / "embeddings.safetensors"), "--methods", "cmm", "--shots", "1,4,16",
            "--output", f"{output}.json",
        ],
    }  # fmt: skip
    start = time.perf_counter()
    run([command, *arguments[command]], environment)
    return time.perf_counter() - start


def run(arguments: list[str], environment: dict[str, str]) -> None:
    code = "from keras_cmm_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"keras-cmm {' '.join(arguments)}: {done.stderr}")


@contextlib.contextmanager
def other_work() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", _BURN])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
