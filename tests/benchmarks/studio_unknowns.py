"""Of which pictures the studio says "none of these", over draws of classes and images.

`python -W ignore tests/benchmarks/studio_unknowns.py` trains projects of bundled pictures as the
page does. Asked about are other pictures of the classes, pictures of the other classes, and noise.
"""

import io
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "studio"))

import click
import numpy as np
from PIL import Image
from test_engine import is_idle, until

from keras_cmm.data import DemoSet
from keras_cmm_studio import Engine, Project, StudioModel

MOST_ASKED = 60


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def asked(demo, known, drawn, rng):
    """Returns the pictures to ask about, by kind."""
    rest = np.setdiff1d(np.arange(len(demo.train_labels)), drawn)
    pictures = {}
    for part, images, labels in (
        ("train", demo.train_images[rest], demo.train_labels[rest]),
        ("test", demo.test_images, demo.test_labels),
    ):
        for kind, rows in (
            ("of the classes", np.flatnonzero(np.isin(labels, known))),
            ("of other classes", np.flatnonzero(~np.isin(labels, known))),
        ):
            chosen = rng.permutation(rows)[:MOST_ASKED]
            pictures[f"{part} pictures {kind}"] = [images[row] for row in chosen]
    size = demo.train_images.shape[1:]
    pictures["noise"] = [rng.integers(0, 256, size, "uint8") for _ in range(20)]
    return pictures


def one_draw(demo, model, classes, shots, seed):
    """Returns the percentage that is turned away, by kind."""
    rng = np.random.default_rng(seed)
    known = np.sort(rng.permutation(len(demo.class_names))[:classes])
    drawn = [rng.permutation(np.flatnonzero(demo.train_labels == label))[:shots] for label in known]
    with tempfile.TemporaryDirectory() as place, Project(Path(place) / "project") as project:
        project.add_classes([demo.class_names[label] for label in known])
        for number, rows in enumerate(drawn):
            files = [(f"{row}.png", png(demo.train_images[row])) for row in rows]
            project.add_images(number + 1, files)
        engine = Engine(project, lambda: model, "emoji_clip_tiny", lambda *_: None)
        engine.start()
        engine.ask("train")
        status = until(engine, is_idle)
        figures = {"held out": status["trained"]["reject"]["held_out"]}
        for kind, pictures in asked(demo, known, np.concatenate(drawn), rng).items():
            unknown = [engine.classify("a.png", png(each), 1)["is_unknown"] for each in pictures]
            figures[kind] = 100 * np.mean(unknown)
        engine.stop()
    return figures


@click.command()
@click.option("--classes", default=3)
@click.option("--shots", default=4)
@click.option("--draws", default=8)
def main(classes, shots, draws):
    demo = DemoSet.load()
    with tempfile.TemporaryDirectory() as place:
        model = StudioModel("emoji_clip_tiny", ["an emoji of a {}."], Path(place) / "store")
        found = defaultdict(list)
        for seed in range(draws):
            for kind, figure in one_draw(demo, model, classes, shots, seed).items():
                found[kind].append(figure)
            print(f"draw {seed + 1} of {draws}", file=sys.stderr, flush=True)
    print(f"{classes} classes, {shots} images a class, {draws} draws; mean and deviation of draws")
    for kind, figures in found.items():
        unit = "" if kind == "held out" else " %"
        print(f"  {kind:32} {np.mean(figures):5.1f} ± {np.std(figures):.1f}{unit}")


if __name__ == "__main__":
    main()
