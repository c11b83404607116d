"""How many labels each strategy of `keras-cmm suggest` saves against images drawn at random.

    python examples/study_suggest.py dtd.safetensors caltech101.safetensors --draws 5

takes embeddings files. In each draw, three quarters of each class's train rows are the pool without
labels. The first images are chosen by the class texts alone. Then a classifier is made of the
labels that there are, and the next images are chosen by it. The classifier is CMM's closed-form
start, which is not trained: that takes a fraction of a second, where training takes many.

Two kinds of rows are asked about: the other train rows, by which the default strategy was chosen,
and the test rows, by which nothing was chosen. A cell is the accuracy in percent at random, and
for each strategy the difference to random of the same draw, with the half width of its 95%
interval over the draws (Student's t). `saved` is the part of the labels that a strategy can do
without and still be as accurate as random images with all of theirs.
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
from keras import ops
from scipy.special import softmax
from scipy.stats import t as student

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.data import EmbeddingSet, sample_few_shot
from keras_cmm.labelling import STRATEGIES, suggest
from keras_cmm_runtime.utils import unit_rows

Array = npt.NDArray[Any]
# Labels in units of classes.
BUDGETS = (0.5, 1.0, 2.0, 3.0, 4.0)


def budgets_of(data: EmbeddingSet) -> list[float]:
    """Returns the budgets that leave something to choose: at most three fifths of the pool."""
    pool = 0.75 * len(data.train_labels)
    return [each for each in BUDGETS if each * data.num_classes <= 0.6 * pool]


def split_pool(data: EmbeddingSet, seed: int) -> tuple[Array, Array]:
    """Returns the train rows of the pool, and the others."""
    labels, keys = np.asarray(data.train_labels), data.keys("train")
    others: list[int] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        number = max(1, len(rows) // 4)
        sample = sample_few_shot(labels[rows], number, seed=seed, keys=[keys[row] for row in rows])
        others += rows[sample.indices].tolist()
    return np.setdiff1d(np.arange(len(labels)), others), np.sort(others)


def classifier(data: EmbeddingSet, x: Array, y: Array) -> CMMClassifier:
    """Returns CMM's closed-form start on labelled rows."""
    head = CMMClassifier.from_text_embeddings(
        np.asarray(data.text_embeddings, "float32"), logit_scale=data.logit_scale
    )
    AutoRecipe().prepare(head, x, y)
    return head


def probabilities_of(head: CMMClassifier, rows: Array) -> Array:
    """Returns the probabilities of the classes, `(rows, classes)`."""
    logits = head.predict(rows, batch_size=4096, verbose=0)
    return np.asarray(ops.convert_to_numpy(head.probabilities(logits)))


def curve(data: EmbeddingSet, strategy: str, seed: int) -> dict[str, list[float]]:
    """Returns the accuracies over the budgets, on each kind of rows that is asked about."""
    pool, others = split_pool(data, seed)
    train, labels = unit_rows(data.train_embeddings), np.asarray(data.train_labels)
    test, classes = unit_rows(data.test_embeddings), np.asarray(data.test_labels)
    asked = {
        "other train rows": (others, labels[others]),
        "test rows": (len(train) + np.arange(len(test)), classes),
    }
    texts = unit_rows(data.text_embeddings)
    probabilities = softmax(data.logit_scale * train[pool] @ texts.T, axis=1)
    known = np.empty(0, dtype="int64")
    accuracies: dict[str, list[float]] = {name: [] for name in asked}
    for budget in budgets_of(data):
        rest = np.setdiff1d(np.arange(len(pool)), known)
        wanted = round(budget * data.num_classes) - len(known)
        chosen = suggest(
            train[pool[rest]],
            probabilities[rest],
            wanted,
            labelled=train[pool[known]],
            labels=labels[pool[known]],
            strategy=strategy,
            seed=seed,
        )
        known = np.concatenate([known, rest[chosen]])
        head = classifier(data, train[pool[known]], labels[pool[known]])
        # In one call: what Keras does besides takes longer than the products.
        shown = probabilities_of(head, np.concatenate([train, test]))
        probabilities = shown[pool]
        for name, (rows, classes) in asked.items():
            right = shown[rows].argmax(axis=1) == classes
            accuracies[name].append(100 * float(right.mean()))
    return accuracies


def saved(budgets: list[float], own: Array, at_random: Array, start: float) -> float:
    """Returns the part of the labels that a strategy saves, in percent.

    Where its accuracy does not rise, the last of these labels count.

    Args:
        budgets: Labels in units of classes.
        own: Its accuracies over the budgets.
        at_random: Those of random images.
        start: The accuracy without labels.
    """
    points, reached = np.array([0.0, *budgets]), np.maximum.accumulate([start, *own])
    if reached[-1] < at_random[-1]:
        return 0.0
    return float(100 * (1 - np.interp(at_random[-1], reached, points) / points[-1]))


def with_interval(values: Array) -> str:
    """Returns a mean with the half width of its 95% interval."""
    if len(values) < 2:
        return f"{np.mean(values):+.1f}"
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):+.1f} ± {half:.1f}"


def zero_shot(data: EmbeddingSet, name: str, seed: int) -> float:
    """Returns the accuracy of the class texts alone."""
    rows, labels = np.asarray(data.test_embeddings), np.asarray(data.test_labels)
    if name != "test rows":
        others = split_pool(data, seed)[1]
        rows, labels = np.asarray(data.train_embeddings)[others], data.train_labels[others]
    scores = unit_rows(rows) @ unit_rows(data.text_embeddings).T
    return float(100 * (scores.argmax(axis=1) == labels).mean())


@click.command(help=(__doc__ or "").split("\n\n", maxsplit=1)[0])
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--draws", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--strategy", "strategies", multiple=True, type=click.Choice(tuple(STRATEGIES)))
def main(files: tuple[Path, ...], draws: int, strategies: tuple[str, ...]) -> None:
    """Prints two tables a file, and one over all files."""
    names = [name for name in strategies or STRATEGIES if name != "random"]
    totals: dict[str, list[float]] = defaultdict(list)
    for file in files:
        data = EmbeddingSet.read(file)
        seeds, budgets = range(1, draws + 1), budgets_of(data)
        curves = {name: [curve(data, name, seed) for seed in seeds] for name in ("random", *names)}
        for asked in curves["random"][0]:
            columns = [f"{budget:g} a class" for budget in budgets]
            print(f"\n| {data.dataset}, {asked} | " + " | ".join([*columns, "saved %"]) + " |")
            print("| --- |" + " --- |" * (len(budgets) + 1))
            at_random = np.array([each[asked] for each in curves["random"]])
            starts = [zero_shot(data, asked, seed) for seed in seeds]
            cells = [f"{value:.1f}" for value in at_random.mean(axis=0)]
            print(f"| random (no label: {np.mean(starts):.1f}) | " + " | ".join([*cells, ""]) + "|")
            for name in names:
                own = np.array([each[asked] for each in curves[name]])
                gains = own - at_random
                cells = [with_interval(column) for column in gains.T]
                parts = [saved(budgets, *each) for each in zip(own, at_random, starts, strict=True)]
                cells.append(with_interval(np.array(parts)))
                print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
                totals[f"{asked}|{name}"] += gains.mean(axis=0).tolist()
    print("\n| all files | mean difference to random | worst cell | cells below random |")
    print("| --- | --- | --- | --- |")
    for title, values in totals.items():
        asked, name = title.split("|")
        below = f"{np.sum(np.array(values) < 0)} of {len(values)}"
        cells = [f"{np.mean(values):+.1f}", f"{np.min(values):+.1f}", below]
        print(f"| {name}, {asked} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
