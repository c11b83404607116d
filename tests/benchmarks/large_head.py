"""Measures training on embeddings that do not fit in memory.

    python tests/benchmarks/large_head.py [--classes 21000] [--per-class 100] [--dim 512]

makes embeddings of that many images at random, around means that are near the class texts, and
writes them as `keras-cmm embed --engine` does. Then, each in a new process, it opens the folder,
trains a head by `AutoRecipe`, and runs `keras_cmm.evaluation.run_benchmark` with all images as
support set. It prints the seconds, the peak memory with and without the pages of mapped files, and
the top-1 of CMM and of the texts alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

TEST_PER_CLASS = 5
PER_FILE = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=21_000)
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--folder", type=Path, help="Keep the embeddings there.")
    parser.add_argument("--part", default="fit,benchmark")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)  # one run is a process
    options = parser.parse_args()
    if options.run:
        part, folder = options.run
        with peak_memory() as peak:
            {"fit": fit, "benchmark": benchmark}[part](folder)
        print(f"{part}: peak {peak['all']} MB, {peak['own']} MB without mapped files", flush=True)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "manifest.json").exists():
            start = time.monotonic()
            write_embeddings(folder, options.classes, options.per_class, options.dim)
            size = sum(file.stat().st_size for file in folder.rglob("*.parquet")) >> 20
            rows = options.classes * (options.per_class + TEST_PER_CLASS)
            print(f"{rows:,} embeddings, {size:,} MB, written in {since(start)}", flush=True)
        for part in options.part.split(","):
            command = [sys.executable, __file__, "--run", part, str(folder)]
            subprocess.run(command, check=True)


def fit(folder: str) -> None:
    import keras_cmm
    from keras_cmm.data import EmbeddingSet
    from keras_cmm.evaluation import top_1

    start = time.monotonic()
    data = EmbeddingSet.read(folder)
    print(f"fit: {len(data.train_labels):,} images opened in {since(start)}", flush=True)
    head = keras_cmm.CMMClassifier.from_text_embeddings(
        data.text_embeddings, logit_scale=data.logit_scale
    )
    start = time.monotonic()
    keras_cmm.AutoRecipe().fit(head, data.train_embeddings, data.train_labels, verbose=0)
    print(f"fit: trained in {since(start)}", flush=True)
    hits = 0.0
    for first in range(0, len(data.test_labels), 1000):
        block = slice(first, first + 1000)
        labels = data.test_labels[block]
        logits = head.predict(np.asarray(data.test_embeddings[block], "float32"), verbose=0)
        hits += len(labels) * top_1(logits, labels)
    print(f"fit: top-1 {hits / len(data.test_labels):.1f} %", flush=True)


def benchmark(folder: str) -> None:
    from keras_cmm.data import EmbeddingSet
    from keras_cmm.evaluation import run_benchmark

    data = EmbeddingSet.read(folder)
    start = time.monotonic()
    for record in run_benchmark([data], ["zero_shot", "cmm"], shots=["all"], seeds=[1]):
        print(f"benchmark: {record['method']} top-1 {record['top1']:.1f} %", flush=True)
    print(f"benchmark: done in {since(start)}", flush=True)


def write_embeddings(folder: Path, classes: int, per_class: int, dim: int) -> None:
    import hashlib

    import pyarrow
    import pyarrow.parquet

    from keras_cmm_runtime.scale import ShardFolder, ShardReport, Storage

    generator = np.random.default_rng(0)
    # Ten to a kind, which only images tell apart well.
    kinds = generator.normal(size=(-(-classes // 10), dim)).repeat(10, axis=0)[:classes]
    texts = kinds + 0.5 * generator.normal(size=(classes, dim))
    means = kinds + 0.6 * (texts - kinds) + 0.3 * generator.normal(size=(classes, dim))
    gap = 2.0 * generator.normal(size=dim)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shards").mkdir(exist_ok=True)
    job = {"kind": "embeddings", "source": "random", "model": "none", "dim": dim}
    output = ShardFolder(Storage(str(folder)), job | {"logit_scale": 100.0, "encoder": {}})
    labels = np.tile(np.arange(classes), per_class + TEST_PER_CLASS)
    report = ShardReport()
    for first in range(0, len(labels), PER_FILE):
        some = labels[first : first + PER_FILE]
        rows = means[some] + gap + 3.0 * generator.normal(size=(len(some), dim))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        numbers = range(first, first + len(some))
        columns = {
            "id": [str(number) for number in numbers],
            "label": [f"class {label}" for label in some],
            "split": ["test" if n < TEST_PER_CLASS * classes else "train" for n in numbers],
            "digest": [hashlib.sha256(str(number).encode()).digest() for number in numbers],
            "error": pyarrow.nulls(len(some), pyarrow.string()),
            "embedding": pyarrow.FixedSizeListArray.from_arrays(
                pyarrow.array(rows.astype("float16").reshape(-1)), dim
            ),
        }
        name = f"{first:09}"
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"shards/{name}.parquet")
        report.shards.append((name, len(some), 0))
    names = {f"class {label}": f"class {label}" for label in range(classes)}
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    np.save(folder / "texts.npy", unit.astype("float32"))
    output.finish(report, class_names=names, test_fraction=0.5, texts="texts.npy")


class peak_memory:  # noqa: N801
    """Looks at this process's memory ten times a second."""

    def __enter__(self) -> dict[str, int]:
        self.peak = {"all": 0, "own": 0}
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self.peak

    def _watch(self) -> None:
        while not self.done.wait(0.1):
            lines = dict(
                line.split(":") for line in Path("/proc/self/status").read_text().splitlines()
            )
            own, mapped = (int(lines[name].split()[0]) >> 10 for name in ("RssAnon", "RssFile"))
            self.peak["own"] = max(self.peak["own"], own)
            self.peak["all"] = max(self.peak["all"], own + mapped)

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()


def since(start: float) -> str:
    return f"{time.monotonic() - start:.0f} s"


if __name__ == "__main__":
    main()
