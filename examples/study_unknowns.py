"""Which score tells images of none of the classes, and what prediction sets hold.

    python examples/study_unknowns.py demo/embeddings.safetensors --shots 4 --draws 20

takes embeddings files (`keras-cmm demo` and `keras-cmm embed` write them). Of the classes, five in
eight are trained on. The images of the others are the unknown ones. Each draw takes other classes
and other images. Asked about are the train rows that were not drawn, by which the score was chosen,
and the test rows, by which nothing was chosen.
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
from scipy.special import logsumexp
from scipy.stats import rankdata

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.data import EmbeddingSet, sample_few_shot
from keras_cmm_runtime.utils import unit_rows

Array = npt.NDArray[Any]
REJECT = 0.05
COVERAGES = (0.8, 0.9, 0.95)
# Bounds time, where a data set is large.
MOST_ASKED = 4000


def one_draw(data: EmbeddingSet, shots: int, seed: int) -> dict[str, dict[str, float]]:
    """Returns the figures of one draw, by table and row."""
    rng = np.random.default_rng(seed)
    known = np.sort(rng.permutation(data.num_classes)[: round(data.num_classes * 5 / 8)])
    id_of = np.full(data.num_classes, -1)
    id_of[known] = np.arange(len(known))
    embeddings, labels = np.asarray(data.train_embeddings, "float32"), id_of[data.train_labels]
    keys = data.keys("train")
    drawn = sample_few_shot(data.train_labels, shots, seed=seed, keys=keys).indices
    rest = rng.permutation(np.setdiff1d(np.arange(len(labels)), drawn))[:MOST_ASKED]
    drawn = drawn[labels[drawn] >= 0]
    x, y = embeddings[drawn], labels[drawn]
    texts = np.asarray(data.text_embeddings, "float32")[known]
    head, start = (
        CMMClassifier.from_text_embeddings(texts, logit_scale=data.logit_scale) for _ in range(2)
    )
    AutoRecipe().fit(head, x, y, seed=seed, verbose=0)
    AutoRecipe().prepare(start, x, y)
    by_fit = head.held_out_scores
    if shots > 1:
        head.calibrate_unknowns(x, y, seed=seed)
    ways = {"as fit calibrates": by_fit, "with --folds 5": head.held_out_scores}
    figures: dict[str, dict[str, float]] = {}
    for rows, asked, ids in (
        ("train rows", embeddings[rest], labels[rest]),
        ("test rows", np.asarray(data.test_embeddings, "float32"), id_of[data.test_labels]),
    ):
        is_known = ids >= 0
        figures[f"{rows}: AUROC"] = {
            name: auroc(score[is_known], score[~is_known])
            for name, score in scores_of(head, start, x, y, asked).items()
        }
        probabilities = probabilities_of(head, asked)
        for way, scores in ways.items():
            if scores is None:  # Of one image a class, none can be held out.
                continue
            unknown = 100 * scores.is_unknown(probabilities, REJECT)
            figures[f"{rows}: % called unknown, --reject {REJECT}, {way}"] = {
                "images of the classes": unknown[is_known].mean(),
                "images of other classes": unknown[~is_known].mean(),
            }
            table = figures[f"{rows}: prediction sets, {way}"] = {}
            for coverage in COVERAGES:
                sets = scores.prediction_sets(probabilities[is_known], coverage)
                covered = sets[np.arange(len(sets)), ids[is_known]]
                table[f"--coverage {coverage}: % covered"] = 100 * covered.mean()
                table[f"--coverage {coverage}: classes in a set"] = sets.sum(axis=1).mean()
    return figures


def scores_of(
    head: CMMClassifier, start: CMMClassifier, x: Array, y: Array, asked: Array
) -> dict[str, Array]:
    """Returns how much images seem to be of the classes, by each score."""
    logits = head.predict(asked, batch_size=256, verbose=0)
    mapped, support = (unit_rows(ops.convert_to_numpy(head.mapping(rows))) for rows in (asked, x))
    means = np.stack([support[y == label].mean(axis=0) for label in range(head.num_classes)])
    residuals = support - means[y]
    # A covariance with a ridge, since there are fewer images than dimensions.
    covariance = residuals.T @ residuals / len(residuals)
    ridge = max(np.trace(covariance) / len(residuals), 1e-6)
    precision = np.linalg.inv(covariance + ridge * np.eye(len(covariance)))
    distances = [((mapped - mean) @ precision * (mapped - mean)).sum(axis=1) for mean in means]
    return {
        "max softmax": probabilities_of(head, asked).max(axis=1),
        "max logit": logits.max(axis=1),
        "energy": logsumexp(logits, axis=1),
        "Mahalanobis, mapped images": -np.min(distances, axis=0),
        "nearest training image (kNN), mapped": (mapped @ support.T).max(axis=1),
        "nearest prototype, trained": ops.convert_to_numpy(head.similarities(asked)).max(axis=1),
        "nearest prototype, before training": ops.convert_to_numpy(start.similarities(asked)).max(
            axis=1
        ),
    }


def probabilities_of(head: CMMClassifier, asked: Array) -> Array:
    """Returns the probabilities as `predict` shows them, `(images, classes)`."""
    logits = head.predict(asked, batch_size=256, verbose=0)
    return ops.convert_to_numpy(head.probabilities(logits))


def auroc(known: Array, unknown: Array) -> float:
    """Returns in percent how often a known image scores higher than an unknown one."""
    ranks = rankdata(np.concatenate([known, unknown]))[: len(known)]
    return float(100 * (ranks.sum() / len(known) - (len(known) + 1) / 2) / len(unknown))


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--shots", default=4, show_default=True)
@click.option("--draws", default=20, show_default=True)
def main(files: tuple[Path, ...], shots: int, draws: int) -> None:
    """Print the mean and the standard deviation over the draws."""
    for file in files:
        data = EmbeddingSet.read(file)
        tables: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for seed in range(1, draws + 1):
            for title, rows in one_draw(data, shots, seed).items():
                for name, value in rows.items():
                    tables[title][name].append(value)
        print(f"{data.dataset}, {shots} shots, {draws} draws")
        for title, columns in tables.items():
            print(f"\n{title}")
            for name, values in columns.items():
                print(f"  {name:<38} {np.mean(values):5.1f} ± {np.std(values):.1f}")


if __name__ == "__main__":
    main()
