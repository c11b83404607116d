"""Times an exported ViT-B/32 classifier against the tower of transformers, both on ONNX Runtime.

Ours is a `CMMImageClassifier` of 100 classes that `export` wrote. Theirs is
`CLIPVisionModelWithProjection` with a linear head, exported by `torch.onnx`. Both take the same
pixels. They run in turns, so that other work on the machine slows them alike. The ratio is the
median over the turns, above 1 where ours is faster. All weights are random, so nothing is
downloaded. Run it with

    KERAS_BACKEND=torch python tests/benchmarks/onnx_speed.py [--turns 15] [--batch-size 16]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from embedding import make_backbone, make_preprocessor
from serving import write_vit

from keras_cmm import CMMImageClassifier
from keras_cmm_runtime import OnnxClassifier

CLASSES = [f"class {number}" for number in range(100)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = CMMImageClassifier(make_backbone(), CLASSES, preprocessor=make_preprocessor())
        ours.export(folder / "ours.onnx", format="onnx", verbose=False)
        models = {
            "ours": OnnxClassifier.load(folder / "ours.onnx"),
            "theirs": OnnxClassifier.load(write_vit(folder / "theirs")),
        }
    shape = (arguments.batch_size, 224, 224, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(arguments.turns + 1):
        for side, model in models.items():
            start = time.perf_counter()
            model.predict_pixels(pixels)
            if turn:  # The first call prepares the session.
                seconds[side].append(time.perf_counter() - start)
    for side, times in seconds.items():
        print(f"{side}: {arguments.batch_size / statistics.median(times):.1f} images/s")
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    print(
        f"ratio: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} turns)"
    )


if __name__ == "__main__":
    main()
