"""Kills workers, nodes and drivers of a run on Ray at random, and compares its output.

A head and two nodes of Ray run on this machine. `keras-cmm embed --engine ray` embeds pictures in
tar files, once without disturbance and once while processes are killed with SIGKILL. A killed node
is replaced by a new one, and a killed driver is started again, as its user would. Printed is what
was killed, and whether the two outputs have the same rows, byte for byte. Two drivers at once on
one output are the last trial. Run it with

    python tests/benchmarks/ray_chaos.py [--pictures 50000] [--tars 100] [--kills 20]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from ray.cluster_utils import Cluster

MAIN = "from keras_cmm_cli.main import main; main()"
CLASSES = 10
PAUSES = (4.0, 20.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--tars", type=int, default=100)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--preset", default="emoji_clip_tiny")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = write_tars(Path(folder, "tars"), options.pictures, options.tars)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        run = Run(source, cluster.address, options.preset)
        start = time.monotonic()
        quiet = Path(folder, "quiet")
        assert run.start(quiet).wait() == 0
        print(f"undisturbed: {time.monotonic() - start:.0f} s", flush=True)

        start = time.monotonic()
        killed = disturb(run, Path(folder, "killed"), cluster, nodes, options)
        counts = {kind: killed.count(kind) for kind in sorted(set(killed))}
        print(f"with {len(killed)} kills, {counts}: {time.monotonic() - start:.0f} s", flush=True)
        compare(quiet, Path(folder, "killed"), options.pictures)

        both = Path(folder, "both")
        drivers = [run.start(both) for _ in range(2)]
        print(f"two drivers on one output: exit codes {[each.wait() for each in drivers]}")
        compare(quiet, both, options.pictures)
        cluster.shutdown()


class Run:
    """A driver of `keras-cmm embed`."""

    def __init__(self, source: Path, address: str, preset: str) -> None:
        self.arguments = [
            *(sys.executable, "-W", "ignore", "-c", MAIN, "embed", str(source)),
            *("--preset", preset, "--engine", "ray", "--address", address, "--num-workers", "2"),
        ]

    def start(self, output: Path) -> subprocess.Popen:
        return subprocess.Popen([*self.arguments, "--output", str(output)], stderr=sys.stderr)


def disturb(run: Run, output: Path, cluster: Cluster, nodes: list, options) -> list[str]:
    """Returns what was killed until the run came to its end."""
    generator = random.Random(options.seed)
    killed: list[str] = []
    driver = run.start(output)
    while True:
        try:
            code = driver.wait(generator.uniform(*PAUSES))
        except subprocess.TimeoutExpired:
            code = None
        if code is not None:
            if code == 0:
                return killed
            print(f"the driver ended with {code}, and is started again", flush=True)
            driver = run.start(output)
            continue
        if len(killed) == options.kills:
            continue
        kind = generator.choice(["worker", "node", "driver"])
        if kind == "driver":
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            driver = run.start(output)
        elif kind == "node":
            place = generator.randrange(len(nodes))
            cluster.remove_node(nodes[place], allow_graceful=False)
            nodes[place] = cluster.add_node(num_cpus=1)
        else:
            workers = [p for p in psutil.process_iter(["cmdline"]) if is_worker(p)]
            if not workers:
                continue
            os.kill(generator.choice(workers).pid, signal.SIGKILL)
        killed.append(kind)
        print(f"{len(killed)}: a {kind} is killed", flush=True)


def is_worker(process: psutil.Process) -> bool:
    """Returns whether a process is a worker of Ray that does something."""
    line = " ".join(process.info["cmdline"] or [])
    return line.startswith("ray::") and "IDLE" not in line


def write_tars(folder: Path, pictures: int, tars: int) -> Path:
    """Writes pictures of one colour and some noise."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    per_tar = -(-pictures // tars)
    for number in range(tars):
        with tarfile.open(folder / f"{number:05}.tar", "w") as archive:
            for row in range(number * per_tar, min(pictures, (number + 1) * per_tar)):
                pixels = generator.integers(0, 256, (6, 6, 3), "uint8").repeat(8, 0).repeat(8, 1)
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "JPEG")
                # Some cannot be read.
                data = b"no image" if row % 997 == 0 else file.getvalue()
                info = tarfile.TarInfo(f"class {row % CLASSES}/{row:08}.jpg")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return folder


def compare(expected: Path, found: Path, pictures: int) -> None:
    digests = [
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        for files in (sorted((folder / "shards").glob("*.parquet")) for folder in (expected, found))
    ]
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (expected, found)]
    import pyarrow.parquet

    ids = pyarrow.parquet.read_table(found / "shards", columns=["id"]).column("id").to_pylist()
    print(
        f"  {len(digests[1])} files, all of the same bytes: {digests[0] == digests[1]}; the same "
        f"manifest: {manifests[0] == manifests[1]}; {len(ids)} rows of {pictures} pictures, "
        f"{len(ids) - len(set(ids))} twice",
        flush=True,
    )


if __name__ == "__main__":
    main()
