"""Measures fit time and peak memory of CMM's default recipe for growing numbers of classes.

    python tests/benchmarks/head_growth.py [--classes 100,1000,21000] [--plot growth.svg]

Each number of classes runs in its own process, on synthetic embeddings: classes are clusters in a
narrow cone of the unit sphere, and their texts lie in another cone. It prints a table. With
`--plot` it also writes the table as a picture.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

DIM = 512


def measure(num_classes: int, shots: int) -> dict[str, float]:
    """Fits once in this process."""
    os.environ["KERAS_BACKEND"] = "torch"
    import numpy as np

    from keras_cmm.methods import CMM, FewShotTask

    generator = np.random.default_rng(0)

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def normal(*shape):
        return generator.standard_normal(shape, dtype="float32")

    # Cosines as in CLIP: 0.5 and more between images, 0.3 between an image and its text.
    concepts = unit(normal(num_classes, DIM))
    cone, other_cone = unit(normal(2, DIM))
    texts = unit(cone + 0.8 * concepts)
    labels = np.repeat(np.arange(num_classes), shots)
    images = unit(
        other_cone + 0.2 * cone + 0.6 * concepts[labels] + 0.4 * unit(normal(len(labels), DIM))
    )
    # A first fit, so that Keras and torch are loaded and have started their threads.
    CMM().fit(FewShotTask(images[: 4 * shots], labels[: 4 * shots], texts[:4], 100.0, shots, 0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    CMM().fit(FewShotTask(images, labels, texts, 100.0, shots, 0))
    return {
        "classes": num_classes,
        "seconds": time.perf_counter() - start,
        "before_mib": before / 1024,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def plot(results: list[dict[str, float]]) -> str:
    """Returns two log-log lines as SVG."""
    import math

    width, height, left, top = 320, 240, 60, 30
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * (width + left)}" height="320">']
    for panel, (name, unit) in enumerate((("seconds", "s"), ("peak_mib", "MiB"))):
        values = [result[name] for result in results]
        low, high = math.log10(min(values) / 1.5), math.log10(max(values) * 1.5)
        first, last = (math.log10(results[end]["classes"]) for end in (0, -1))
        points = []
        for result in results:
            x = left + (math.log10(result["classes"]) - first) / max(last - first, 1e-9) * (
                width - 60
            )
            y = top + (high - math.log10(result[name])) / (high - low) * height
            points.append((x + panel * (width + left), y, result))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="#2563eb" stroke-width="2"/>')
        for x, y, result in points:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#2563eb"/>')
            label = f"{result['classes']:,.0f} classes: {result[name]:,.1f} {unit}"
            parts.append(
                f'<text x="{x:.1f}" y="{y - 10:.1f}" font-family="sans-serif" font-size="11" '
                f'text-anchor="middle">{label}</text>'
            )
    return "\n".join([*parts, "</svg>"])


def main() -> None:
    """Runs every size in its own process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", default="100,1000,21000")
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.shots)))
        return
    results = []
    print("| classes | rows | fit, s | ms a class | peak memory, MiB | of it before the fit |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number in arguments.classes.split(","):
        command = [sys.executable, __file__, "--one", number, "--shots", str(arguments.shots)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        result = json.loads(output.splitlines()[-1])
        results.append(result)
        print(
            f"| {result['classes']:,} | {result['classes'] * arguments.shots:,} "
            f"| {result['seconds']:.1f} | {1000 * result['seconds'] / result['classes']:.2f} "
            f"| {result['peak_mib']:,.0f} | {result['before_mib']:,.0f} |",
            flush=True,
        )
    if arguments.plot:
        arguments.plot.write_text(plot(results), encoding="utf-8")


if __name__ == "__main__":
    main()
