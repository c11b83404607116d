"""Measures embedding in parts: engines against each other, the overhead, memory, the first image.

    python tests/benchmarks/scale.py [--part engines,rows,files] [--images 4000] [--workers 2]

`engines` embeds pictures in tar files with the bundled CLIP by `--engine local` and `--engine ray`,
in turns, each in a new process. The time counts from the start of the first part to the end of the
last one, so neither the import of Keras nor the start of Ray counts. `rows` classifies by a stub
that costs nothing lists of 10^4, 10^5 and 10^6 rows of one picture, and prints the peak memory of
the driver. `files` makes a folder of 10^6 empty files and prints the time to the first part.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))
from stub_shard_model import MakeStubWorker

from keras_cmm_runtime.scale import EngineOptions, Storage, find_shards, run_workers

PER_TAR = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", default="engines,rows,files")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--run", nargs="*", help=argparse.SUPPRESS)  # one run is a process
    options = parser.parse_args()
    if options.run:
        RUNS[options.run[0]](*options.run[1:])
        return
    parts = {"engines": compare_engines, "rows": compare_rows, "files": first_of_many}
    with tempfile.TemporaryDirectory() as folder:
        for part in options.part.split(","):
            parts[part](Path(folder), options)


def compare_engines(folder: Path, options: argparse.Namespace) -> None:
    write_tars(folder / "tars", options.images)
    speeds: dict[str, list[float]] = {"local": [], "ray": []}
    for turn in range(options.turns):
        for engine in speeds:
            output = folder / f"{engine}{turn}"
            arguments = (engine, folder / "tars", output, options.workers)
            speeds[engine].append(float(run("embed", *arguments)))
    for engine, values in speeds.items():
        print(f"{engine:6} {statistics.median(values):7.1f} images/s, {options.workers} workers")
    ratios = [ray / local for ray, local in zip(speeds["ray"], speeds["local"], strict=True)]
    print(f"ray / local of each turn: {statistics.median(ratios):.2f} x")


def embed(engine: str, source: str, output: str, workers: str) -> None:
    from keras_cmm.scale import KerasEncoder, embed_shards

    ends: list[float] = []
    counts: list[int] = []

    def progress(report: object) -> None:
        ends.append(time.monotonic())
        counts.append(report.rows)

    report = embed_shards(
        source,
        output,
        KerasEncoder("emoji_clip_tiny"),
        model="emoji_clip_tiny",
        options=EngineOptions(engine, num_workers=int(workers)),
        progress=progress,
    )
    assert not report.failed
    # From the end of the first parts, one a worker, so that loading the model does not count.
    first = int(workers) - 1
    print((counts[-1] - counts[first]) / (ends[-1] - ends[first]))


def compare_rows(folder: Path, options: argparse.Namespace) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    (folder / "x.png").write_bytes(file.getvalue())
    for rows in (10**4, 10**5, 10**6):
        listed = folder / f"{rows}.csv"
        # Parts of the same rows would be the same part.
        lines = (f"x.png,{row // 1000}\n" for row in range(rows))
        listed.write_text("path,label\n" + "".join(lines))
        for engine in ("local", "ray"):
            seconds, parts, memory = run(
                "rows", engine, listed, folder / f"{engine}{rows}", options.workers
            ).split()
            print(
                f"{engine:6} {rows:9,} rows: {float(seconds):7.1f} s, "
                f"{1000 * float(seconds) * options.workers / int(parts):6.1f} ms of a worker for a "
                f"part of 1,000, driver {memory} MB",
                flush=True,
            )


def stub_rows(engine: str, source: str, output: str, workers: str) -> None:
    start = time.monotonic()
    report = run_workers(
        EngineOptions(engine, num_workers=int(workers)),
        functools.partial(find_shards, Storage(source)),
        MakeStubWorker(Storage(output)),
    )
    assert not report.failed
    # `ru_maxrss` would count the process before it became this program.
    status = Path("/proc/self/status").read_text()
    memory = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    print(time.monotonic() - start, len(report.shards), memory)


def first_of_many(folder: Path, options: argparse.Namespace) -> None:
    many = folder / "many"
    for number in range(options.files):
        if number % 1000 == 0:
            inside = many / f"class {number // 10_000:03}" / f"{number // 1000 % 10}"
            inside.mkdir(parents=True)
        (inside / f"{number}.jpg").touch()
    start = time.monotonic()
    shards = find_shards(Storage(str(many)))
    next(shards)
    first = time.monotonic() - start
    count = 1 + sum(1 for _ in shards)
    print(
        f"{options.files:,} files: the first part is listed after {first:.3f} s, all "
        f"{count:,} after {time.monotonic() - start:.1f} s"
    )
    for engine in ("local", "ray"):
        print(f"{engine:6} the first image is embedded after {run('first', engine, many)} s")


def first_image(engine: str, source: str) -> None:
    start = time.monotonic()

    class DoneError(Exception):
        pass

    def progress(report: object) -> None:
        raise DoneError

    with tempfile.TemporaryDirectory() as output:
        try:
            run_workers(
                EngineOptions(engine, num_workers=2),
                functools.partial(find_shards, Storage(source)),
                MakeStubWorker(Storage(output)),
                progress,
            )
        except DoneError:
            print(f"{time.monotonic() - start:.1f}", flush=True)
            # Ray is in the midst of its work, and would end this process with an error.
            shutil.rmtree(output, ignore_errors=True)
            os._exit(0)


RUNS = {"embed": embed, "rows": stub_rows, "first": first_image}


def run(*arguments: object) -> str:
    """Returns the last line that a run prints in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--run", *map(str, arguments)]
    # Ray's workers import the stub too.
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode:
        raise SystemExit(result.stderr)
    return result.stdout.strip().splitlines()[-1]


def write_tars(folder: Path, images: int) -> None:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for first in range(0, images, PER_TAR):
        with tarfile.open(folder / f"{first:08}.tar", "w") as archive:
            for row in range(first, min(images, first + PER_TAR)):
                pixels = generator.integers(0, 256, (8, 8, 3), "uint8").repeat(16, 0).repeat(16, 1)
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "JPEG")
                info = tarfile.TarInfo(f"class {row % 10}/{row:08}.jpg")
                info.size = file.tell()
                file.seek(0)
                archive.addfile(info, file)


if __name__ == "__main__":
    main()
