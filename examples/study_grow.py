"""How accurate classes are that were added, against training on all classes.

    python examples/study_grow.py demo/embeddings.safetensors

takes embeddings files (`keras-cmm demo` and `keras-cmm embed` write them). In each draw, one class
in ten is new. A classifier is trained on the others, and then grown by the new classes: by their
texts and images, or by their texts alone. Another one is trained on all classes.

Nothing here sees a test row: all are asked about train rows that were not drawn.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import click
import numpy as np
import numpy.typing as npt

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.data import EmbeddingSet, sample_few_shot

Array = npt.NDArray[Any]


def one_draw(data: EmbeddingSet, shots: int, seed: int) -> dict[str, tuple[float, float, float]]:
    """Returns the accuracy on old, new and all classes, in percent, of each classifier."""
    order = np.random.default_rng(seed).permutation(data.num_classes)
    old = data.num_classes - max(1, data.num_classes // 10)
    texts = np.asarray(data.text_embeddings, "float32")[order]
    embeddings = np.asarray(data.train_embeddings, "float32")
    labels = np.argsort(order)[data.train_labels]  # The new classes are the last ones.
    drawn = sample_few_shot(data.train_labels, shots, seed=seed, keys=data.keys("train")).indices
    asked = np.setdiff1d(np.arange(len(labels)), drawn)
    is_new = labels[asked] >= old

    def trained(rows: Array, classes: int) -> CMMClassifier:
        head = CMMClassifier.from_text_embeddings(texts[:classes], logit_scale=data.logit_scale)
        AutoRecipe().fit(
            head, embeddings[rows], labels[rows], seed=seed, verbose=0, calibrate=False
        )
        return head

    def figures(head: CMMClassifier) -> tuple[float, float, float]:
        logits = head.predict(embeddings[asked], batch_size=256, verbose=0)
        right = 100.0 * (logits.argmax(axis=1) == labels[asked])
        return right[~is_new].mean(), right[is_new].mean(), right.mean()

    found = {"trained on all classes": figures(trained(drawn, data.num_classes))}
    head = trained(drawn[labels[drawn] < old], old)
    for name in ("grown by texts and images", "grown by texts alone"):
        for label in range(old, data.num_classes):
            images = embeddings[drawn[labels[drawn] == label]]
            head.add_class(texts[label], images if "images" in name else None)
        found[name] = figures(head)
        for _ in range(old, data.num_classes):  # Then the head is as it was.
            head.remove_class(old)
    return found


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--shots", "all_shots", multiple=True, type=int, default=(1, 4, 8))
@click.option("--draws", default=10, show_default=True)
def main(files: tuple[Path, ...], all_shots: tuple[int, ...], draws: int) -> None:
    """Print the mean accuracies over the draws."""
    for file in files:
        data = EmbeddingSet.read(file)
        print(f"{data.dataset}, {draws} draws: top-1 in % on old, new and all classes")
        for shots in all_shots:
            figures: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
            for seed in range(1, draws + 1):
                for name, values in one_draw(data, shots, seed).items():
                    figures[name].append(values)
            for name, rows in figures.items():
                old, new, both = np.mean(rows, axis=0)
                print(f"{shots} shots  {name:<26} {old:5.1f} {new:5.1f} {both:5.1f}", flush=True)


if __name__ == "__main__":
    main()
