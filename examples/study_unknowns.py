"""Which score tells images of none of the classes, and what prediction sets hold.

    python examples/study_unknowns.py demo/embeddings.safetensors --shots 8 --draws 20

takes embeddings files (`keras-cmm demo` and `keras-cmm embed` write them). Of the classes, five in
eight are trained on. The images of the others are the unknown ones. Each draw takes other classes
and other images.

Images that were not drawn are asked about: the train rows that are left over, by which the score
was chosen, and the test rows, which nothing was chosen by.
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
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.data import EmbeddingSet, sample_few_shot
from keras_cmm_runtime.utils.unit_rows import unit_rows

Array = npt.NDArray[Any]
COVERAGES = (0.8, 0.9, 0.95)


def auroc(known: Array, unknown: Array) -> float:
    """Returns how often a known image scores higher than an unknown one."""
    ranks = rankdata(np.concatenate([known, unknown]))[: len(known)]
    return float((ranks.sum() / len(known) - (len(known) + 1) / 2) / len(unknown))


def scores(head: CMMClassifier, support: Array, labels: Array, images: Array) -> dict[str, Array]:
    """Returns how like the classes images are, by each score."""
    logits = head.predict(images, batch_size=256, verbose=0)
    mapped, mapped_support = (
        unit_rows(ops.convert_to_numpy(head.mapping(rows))) for rows in (images, support)
    )
    means = np.stack([mapped_support[labels == each].mean(0) for each in range(head.num_classes)])
    residuals = mapped_support - means[labels]
    dim = residuals.shape[1]
    # The shrunk precision of Wang et al. (GDA).
    covariance = residuals.T @ residuals
    ridge = max(np.trace(covariance) / len(residuals), 1e-6)
    precision = dim * np.linalg.inv(covariance + ridge * np.eye(dim))
    distances = [((mapped - mean) @ precision * (mapped - mean)).sum(axis=1) for mean in means]
    return {
        "max softmax": softmax(logits, axis=1).max(axis=1),
        "max logit": logits.max(axis=1),
        "energy": logsumexp(logits, axis=1),
        "Mahalanobis": -np.min(distances, axis=0),
        "nearest image (kNN)": (mapped @ mapped_support.T).max(axis=1),
        "nearest prototype, trained": ops.convert_to_numpy(head.similarities(images)).max(axis=1),
        "nearest prototype, at the start": head.likeness(images),
    }


def one_draw(data: EmbeddingSet, shots: int, seed: int) -> dict[str, float]:
    """Returns the figures of one draw by their names."""
    classes = np.random.default_rng(seed).permutation(data.num_classes)
    known = np.sort(classes[: round(data.num_classes * 5 / 8)])
    id_of = np.full(data.num_classes, -1)
    id_of[known] = np.arange(len(known))
    train, labels = np.asarray(data.train_embeddings, "float32"), id_of[data.train_labels]
    keys = data.keys("train")
    drawn = sample_few_shot(data.train_labels, shots, seed=seed, keys=keys).indices
    rest = np.setdiff1d(np.arange(len(labels)), drawn)
    drawn = drawn[labels[drawn] >= 0]
    asked = {
        "train rows": (train[rest], labels[rest]),
        "test rows": (np.asarray(data.test_embeddings, "float32"), id_of[data.test_labels]),
    }
    texts = np.asarray(data.text_embeddings, "float32")[known]
    head = CMMClassifier.from_text_embeddings(texts, logit_scale=data.logit_scale)
    AutoRecipe().fit(head, train[drawn], labels[drawn], seed=seed, verbose=0)
    figures: dict[str, float] = {}
    for rows, (images, ids) in asked.items():
        for name, score in scores(head, train[drawn], labels[drawn], images).items():
            value = auroc(score[ids >= 0], score[ids < 0])
            figures[f"{rows}: AUROC, {name}"] = 100 * value
    for way in ("fit", "cross-validation"):
        if way == "cross-validation" and shots > 1:
            head.calibrate_unknowns(train[drawn], labels[drawn], seed=seed)
        if head.held_out_scores is None:
            continue
        for rows, (images, ids) in asked.items():
            for name, value in judged(head, images, ids).items():
                figures[f"{rows}, {way}: {name}"] = value
    return figures


def judged(head: CMMClassifier, images: Array, ids: Array) -> dict[str, float]:
    """Returns what a calibrated head says of images; those of no class have the id -1."""
    is_known = ids >= 0
    unknown = head.is_unknown(images, 0.05)
    figures = {
        "% of the classes' images rejected at 0.05": 100 * unknown[is_known].mean(),
        "% of other images rejected at 0.05": 100 * unknown[~is_known].mean(),
    }
    for coverage in COVERAGES:
        sets = head.predict_sets(images[is_known], coverage)
        covered = sets[np.arange(len(sets)), ids[is_known]]
        figures[f"% covered at {coverage}"] = 100 * covered.mean()
        figures[f"set size at {coverage}"] = sets.sum(axis=1).mean()
    return figures


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--shots", default=8, show_default=True)
@click.option("--draws", default=20, show_default=True)
def main(files: tuple[Path, ...], shots: int, draws: int) -> None:
    """Print the mean and the standard deviation over the draws."""
    for file in files:
        data = EmbeddingSet.read(file)
        figures: dict[str, list[float]] = defaultdict(list)
        for seed in range(1, draws + 1):
            for name, value in one_draw(data, shots, seed).items():
                figures[name].append(value)
        print(f"{data.dataset}, {shots} shots, {draws} draws")
        for name, values in figures.items():
            print(f"  {name:<68} {np.mean(values):6.2f} ± {np.std(values):.2f}")


if __name__ == "__main__":
    main()
