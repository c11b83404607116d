"""How many wrong labels `keras-cmm audit` finds, and how many of those that it names are wrong.

    python examples/study_audit.py dtd.safetensors caltech101.safetensors --draws 3

takes embeddings files. Of the train rows, 5, 10 and 20 percent get another label. `random` draws
the other class evenly. `alike` takes the class whose text is most similar, which is harder: people
confuse classes that are alike. Precision is the part of the named labels that were changed, recall
the part of the changed labels that were named, in percent, as means over the draws. The labels of
the files themselves count as right, so what is wrong in them already lowers the precision.

The rules are `improbable`, that of the command: the classifier names the image otherwise, and its
label is less probable than by guessing. `confident learning` is that of cleanlab (`pip install
cleanlab`). `otherwise` names every image that the classifier names otherwise.

The last table is of other findings. Odd images: as many images of the file before, in the order
given, as two in a hundred of the set's own are mixed in under random labels. Names: the texts of
one class in ten are dealt out among these classes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import click
import numpy as np
import numpy.typing as npt
from cleanlab.filter import find_label_issues

from keras_cmm.data import EmbeddingSet
from keras_cmm.labelling import (
    closed_form_predict,
    odd_images,
    out_of_fold,
    silent_names,
    wrong_labels,
)
from keras_cmm_runtime.utils import unit_rows

Array = npt.NDArray[Any]
RATES = (0.05, 0.1, 0.2)
RULES = ("improbable", "confident learning", "otherwise")


def changed_labels(data: EmbeddingSet, rate: float, how: str, seed: int) -> Array:
    """Returns the train labels, some of which are changed."""
    rng = np.random.default_rng(seed)
    labels = np.asarray(data.train_labels, dtype="int64").copy()
    rows = rng.permutation(len(labels))[: round(rate * len(labels))]
    if how == "alike":
        texts = unit_rows(data.text_embeddings)
        nearest = (texts @ texts.T - 2 * np.eye(len(texts))).argmax(axis=1)
        labels[rows] = nearest[labels[rows]]
    else:
        steps = rng.integers(1, data.num_classes, size=len(rows))
        labels[rows] = (labels[rows] + steps) % data.num_classes
    return labels


def named_rows(rule: str, labels: Array, probabilities: Array) -> Array:
    """Returns which labels a rule names, as truth values."""
    named = np.zeros(len(labels), dtype=bool)
    if rule == "improbable":
        named[[each.row for each in wrong_labels(labels, probabilities)]] = True
        return named
    tested = ~np.isnan(probabilities[:, 0])
    if rule == "otherwise":
        named[tested] = probabilities[tested].argmax(axis=1) != labels[tested]
    else:
        named[tested] = find_label_issues(
            labels[tested], probabilities[tested], filter_by="confident_learning", n_jobs=1
        )
    return named


def in_percent(part: int, whole: int) -> float:
    """Returns a share; that of nothing is 100, since nothing was missed."""
    return 100 * part / whole if whole else 100.0


def precision_and_recall(named: Array, wanted: Array) -> tuple[float, float]:
    """Returns both in percent."""
    both = int((named & wanted).sum())
    return in_percent(both, int(named.sum())), in_percent(both, int(wanted.sum()))


def probabilities_of(data: EmbeddingSet, rows: Array, labels: Array, seed: int) -> Array:
    """Returns what `keras-cmm audit` judges by."""
    predict = closed_form_predict(unit_rows(data.text_embeddings), data.logit_scale)
    return out_of_fold(rows, labels, data.num_classes, predict, seed)


def wrong_label_table(data: EmbeddingSet, draws: int) -> None:
    """Prints precision and recall of each rule."""
    rows = unit_rows(data.train_embeddings)
    columns = [f"{100 * rate:g}%, {how}" for how in ("random", "alike") for rate in RATES]
    print(f"\n| {data.dataset}, {len(rows):,} images | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    cells: dict[str, list[str]] = {rule: [] for rule in RULES}
    for how in ("random", "alike"):
        for rate in RATES:
            pairs: dict[str, list[tuple[float, float]]] = {rule: [] for rule in RULES}
            for seed in range(1, draws + 1):
                labels = changed_labels(data, rate, how, seed)
                probabilities = probabilities_of(data, rows, labels, seed)
                for rule in RULES:
                    named = named_rows(rule, labels, probabilities)
                    pairs[rule].append(precision_and_recall(named, labels != data.train_labels))
            for rule in RULES:
                precision, recall = np.mean(pairs[rule], axis=0)
                cells[rule].append(f"{precision:.0f} / {recall:.0f}")
    for rule in RULES:
        print(f"| {rule} | " + " | ".join(cells[rule]) + " |", flush=True)


def other_findings(data: EmbeddingSet, other: EmbeddingSet, seed: int) -> list[float]:
    """Returns precision and recall of odd images, and of names that tell nothing."""
    rng = np.random.default_rng(seed)
    rows, labels = unit_rows(data.train_embeddings), np.asarray(data.train_labels, "int64")
    number = max(1, round(0.02 * len(rows)))
    strangers = unit_rows(other.train_embeddings)[rng.permutation(len(other.train_labels))[:number]]
    mixed = np.concatenate([rows, strangers])
    given = np.concatenate([labels, rng.integers(0, data.num_classes, size=number)])
    found = odd_images(mixed, given, probabilities_of(data, mixed, given, seed))
    named = np.zeros(len(mixed), dtype=bool)
    named[[each.row for each in found]] = True
    texts = unit_rows(data.text_embeddings)
    moved = rng.permutation(data.num_classes)[: max(2, data.num_classes // 10)]
    texts[moved] = texts[np.roll(moved, 1)]
    silent = np.zeros(data.num_classes, dtype=bool)
    silent[[each.label for each in silent_names(rows, labels, texts)]] = True
    return [
        *precision_and_recall(named, np.arange(len(mixed)) >= len(rows)),
        *precision_and_recall(silent, np.isin(np.arange(data.num_classes), moved)),
    ]


@click.command(help=(__doc__ or "").split("\n\n", maxsplit=1)[0])
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--draws", default=3, show_default=True, type=click.IntRange(min=1))
def main(files: tuple[Path, ...], draws: int) -> None:
    """Prints a table a file, and one of the other findings."""
    sets = [EmbeddingSet.read(file) for file in files]
    for data in sets:
        wrong_label_table(data, draws)
    pairs = [(data, sets[number - 1]) for number, data in enumerate(sets)]
    pairs = [(data, other) for data, other in pairs if data is not other]
    if not pairs:
        return
    print("\n| precision / recall | odd images | names that tell nothing |")
    print("| --- | --- | --- |")
    for data, other in pairs:
        figures = [other_findings(data, other, seed) for seed in range(1, draws + 1)]
        odd, odd_recall, names, names_recall = np.mean(figures, axis=0)
        print(
            f"| {data.dataset}, odd images of {other.dataset} | {odd:.0f} / {odd_recall:.0f} | "
            f"{names:.0f} / {names_recall:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
