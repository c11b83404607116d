"""Which score tells images of none of the classes, and what prediction sets hold.

    python examples/study_unknowns.py demo/embeddings.safetensors --shots 8 --draws 20

takes embeddings files (`keras-cmm demo` and `keras-cmm embed` write them). Of the classes, five in
eight are trained on. The images of the others are the unknown ones. Each draw takes other classes
and other images.

Images that were not drawn are asked about: those of the train rows, and with `--test` those of the
test rows. The score was chosen without `--test`.
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
        "nearest prototype": head.likeness(images),
    }


def one_draw(data: EmbeddingSet, shots: int, seed: int, test: bool) -> dict[str, list[float]]:
    """Returns the figures of one draw by their names."""
    classes = np.random.default_rng(seed).permutation(data.num_classes)
    known = np.sort(classes[: round(data.num_classes * 5 / 8)])
    id_of = np.full(data.num_classes, -1)
    id_of[known] = np.arange(len(known))
    labels = id_of[data.train_labels]
    keys = data.keys("train")
    drawn = sample_few_shot(data.train_labels, shots, seed=seed, keys=keys).indices
    drawn = drawn[labels[drawn] >= 0]
    support, support_labels = np.asarray(data.train_embeddings)[drawn], labels[drawn]
    if test:
        images, image_labels = np.asarray(data.test_embeddings), id_of[data.test_labels]
    else:
        rest = np.setdiff1d(np.arange(len(labels)), drawn)
        images, image_labels = np.asarray(data.train_embeddings)[rest], labels[rest]
    head = CMMClassifier.from_text_embeddings(
        np.asarray(data.text_embeddings)[known], logit_scale=data.logit_scale
    )
    support, images = support.astype("float32"), images.astype("float32")
    AutoRecipe().fit(head, support, support_labels, seed=seed, verbose=0)
    is_known = image_labels >= 0
    figures = {
        f"AUROC, {name}": [100 * auroc(score[is_known], score[~is_known])]
        for name, score in scores(head, support, support_labels, images).items()
    }
    right = np.flatnonzero(is_known), image_labels[is_known]
    for way in ("fit", "cross-validation"):
        if way == "cross-validation" and shots > 1:
            head.calibrate_unknowns(support, support_labels, seed=seed)
        if head.held_out_scores is None:
            continue
        unknown = head.is_unknown(images, 0.05)
        figures[f"{way}: images of the classes rejected"] = [100 * unknown[is_known].mean()]
        figures[f"{way}: images of other classes rejected"] = [100 * unknown[~is_known].mean()]
        for coverage in COVERAGES:
            sets = head.predict_sets(images, coverage)
            figures[f"{way}: coverage at {coverage}"] = [100 * sets[right].mean()]
            figures[f"{way}: set size at {coverage}"] = [sets[is_known].sum(axis=1).mean()]
    return figures


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--shots", default=8, show_default=True)
@click.option("--draws", default=20, show_default=True)
@click.option("--test", is_flag=True, help="Ask about the test rows.")
def main(files: tuple[Path, ...], shots: int, draws: int, test: bool) -> None:
    """Print the mean and the standard deviation over the draws."""
    for file in files:
        data = EmbeddingSet.read(file)
        figures: dict[str, list[float]] = defaultdict(list)
        for seed in range(1, draws + 1):
            for name, values in one_draw(data, shots, seed, test).items():
                figures[name] += values
        print(f"{data.dataset}, {shots} shots, {draws} draws, {'test' if test else 'train'} rows")
        for name, values in figures.items():
            print(f"  {name:<52} {np.mean(values):6.2f} ± {np.std(values):.2f}")


if __name__ == "__main__":
    main()
