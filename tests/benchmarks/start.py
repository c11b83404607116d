"""How long each command takes to start, and which heavy packages it imports.

`python tests/benchmarks/start.py [--turns 3]` runs every command on a few pictures of the demo, in
turns, each time in a new process. It prints the median of the wall time, the processor time, the
peak of the memory, and the packages.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEAVY = ("keras", "torch", "keras_hub", "tensorflow", "jax", "sklearn", "matplotlib", "onnxruntime")
RUN = """
import atexit, re, resource, sys

def tell():
    found = [name for name in {heavy!r} if sys.modules.get(name) is not None]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = usage.ru_utime + usage.ru_stime
    # `ru_maxrss` would count this process before it became another program.
    peak = re.search("VmHWM: *\\\\s*([0-9]+) kB", open("/proc/self/status").read())[1]
    print("\\nIMPORTED", seconds, int(peak) // 1024, *found, file=sys.stderr)

atexit.register(tell)
{code}
"""
COMMAND = "from keras_cmm_cli.main import main; main()"


def commands(folder, pictures):
    """Returns the arguments of each command; the first one makes the model."""
    images, model = str(pictures), str(folder / "model")
    embeddings = str(folder / "embeddings.safetensors")
    preset = ["--preset", "emoji_clip_tiny"]
    one = str(next((pictures / "test").rglob("*.png")))
    return {
        "fit": ["fit", images, *preset, "--shots", "2", "--output", model],
        "--help": ["--help"],
        "predict": ["predict", model, one],
        "predict, Keras": ["predict", model, one, "--engine", "keras"],
        "evaluate": ["evaluate", model, str(pictures / "test")],
        "explain": ["explain", model, one, "--output", str(folder / "heat.png"), "--overwrite"],
        "embed": ["embed", images, *preset, "--output", embeddings],
        "export": ["export", model, "--format", "onnx", "--output", f"{folder}/m.onnx"],
        "store": ["store"],
        "datasets list": ["datasets", "list"],
        "benchmark": ["benchmark", embeddings, "--methods", "zero_shot", "--shots", "1"],
    }


def measured(code, arguments, home):
    """Runs a process; returns seconds, seconds of the processor, MiB and the packages."""
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", RUN.format(heavy=HEAVY, code=code), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_CMM_HOME": home},
    )
    wall = time.perf_counter() - start
    told = [line for line in ran.stderr.splitlines() if line.startswith("IMPORTED")]
    assert ran.returncode == 0, (arguments, ran.stderr)
    _, used, peak, *packages = told[0].split()
    return wall, float(used), int(peak), packages


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    turns = parser.parse_args().turns
    from keras_cmm.data import DemoSet

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pictures = folder / "pictures"
        DemoSet.load().export(pictures)
        runs = {"import keras_cmm": ("import keras_cmm", [])}
        runs |= {name: (COMMAND, given) for name, given in commands(folder, pictures).items()}
        found = {name: [] for name in runs}
        for turn in range(turns):
            for name, (code, arguments) in runs.items():
                again = ["--overwrite"] if turn and name in ("fit", "embed", "export") else []
                found[name].append(measured(code, [*arguments, *again], f"{folder}/home"))
    print(f"{'':18}{'seconds':>9}{'of the processor':>18}{'MiB':>7}  packages")
    for name, rows in found.items():
        wall, used, peak = (statistics.median(row[each] for row in rows) for each in range(3))
        print(f"{name:18}{wall:9.1f}{used:18.1f}{peak:7.0f}  {', '.join(rows[-1][3])}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
