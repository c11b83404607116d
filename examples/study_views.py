"""What augmented views of the images give CMM, in training and at test time, and what they cost.

    python examples/study_views.py

takes the pictures of `keras-cmm demo` and the CLIP that comes with the package. A row is CMM with
the default recipe, trained on `fit --views N` and tested on `predict --views N`. Every row is
scored on the whole test split. A cell is top-1 in percent, the mean over the draws and the standard
deviation between them.

The second table is the time that embedding takes, without a store, of one image with its views.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict

os.environ.setdefault("KERAS_BACKEND", "torch")

import click
import numpy as np

from keras_cmm import AutoRecipe, CMMClassifier, CMMImageClassifier
from keras_cmm.data import DemoSet, sample_few_shot
from keras_cmm.evaluation import top_1
from keras_cmm_runtime.images import ImageView
from keras_cmm_runtime.utils import unit_rows

PRESET = "emoji_clip_tiny"
TEMPLATES = ("{}", "an emoji of {}", "an emoji of a {}.")
TIMED = 256


def embeddings_of_views(model: CMMImageClassifier, images, views: int):
    """Returns the embeddings of images and their views, `(images, 1 + views, dim)`."""
    all_views = [
        ImageView(image, number) if number else image
        for image in images
        for number in range(views + 1)
    ]
    rows = model.embedder.embed(all_views).embeddings
    return rows.reshape(len(images), views + 1, -1)


def mean_of(rows, views: int):
    """Returns the embeddings that `fit --views` and `predict --views` take."""
    return unit_rows(rows[:, : views + 1].sum(axis=1))


def scores_of_a_head(model, demo, train, test, draw, seed: int, views: int, tested: list[int]):
    """Returns the top-1 of a classifier that is trained on some views, for each number at test."""
    head = CMMClassifier.from_text_embeddings(
        model.text_embeddings, logit_scale=model.head.logit_scale
    )
    # The temperature changes no accuracy.
    AutoRecipe().fit(
        head,
        mean_of(train[draw.indices], views),
        demo.train_labels[draw.indices],
        seed=seed,
        calibrate=False,
        verbose=0,
    )
    return [
        top_1(head.predict(mean_of(test, number), batch_size=512, verbose=0), demo.test_labels)
        for number in tested
    ]


@click.command(help=(__doc__ or "").split("\n\n", maxsplit=1)[0])
@click.option("--shots", default="1,2,4,8,16", show_default=True)
@click.option("--views", default="4,8", show_default=True)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1))
def main(shots: str, views: str, seeds: int) -> None:
    """Prints both tables."""
    all_shots = [int(number) for number in shots.split(",")]
    all_views = [int(number) for number in views.split(",")]
    demo = DemoSet.load()
    model = CMMImageClassifier.from_preset(PRESET, class_names=demo.class_names, template=TEMPLATES)
    train, test = (
        embeddings_of_views(model, images, max(all_views))
        for images in (demo.train_images, demo.test_images)
    )
    # By views in training and at test time.
    titles = {(0, 0): "no views"}
    titles |= {(number, 0): f"training: {number}" for number in all_views}
    titles |= {(0, number): f"test: {number}" for number in all_views}
    titles |= {(number, number): f"training and test: {number}" for number in all_views}
    cells = defaultdict(list)
    for number in all_shots:
        scores = defaultdict(list)
        for seed in range(1, seeds + 1):
            draw = sample_few_shot(demo.train_labels, number, seed=seed, keys=demo.train_keys)
            for views_of_row in (0, *all_views):
                tested = [at_test for trained, at_test in titles if trained == views_of_row]
                found = scores_of_a_head(model, demo, train, test, draw, seed, views_of_row, tested)
                for at_test, score in zip(tested, found, strict=True):
                    scores[views_of_row, at_test].append(score)
        for row, values in scores.items():
            cells[row].append(f"{np.mean(values):.2f} ± {np.std(values):.2f}")
    print("| views | " + " | ".join(f"{number} shots" for number in all_shots) + " |")
    print("| --- |" + " --- |" * len(all_shots))
    for row, title in titles.items():
        print(f"| {title} | " + " | ".join(cells[row]) + " |", flush=True)

    print("\n| views | ms an image |\n| --- | --- |")
    for number in (0, *all_views):
        started = time.perf_counter()
        model.embedder.embed(demo.test_images[:TIMED], views=number)
        seconds = time.perf_counter() - started
        print(f"| {number} | {1000 * seconds / TIMED:.1f} |", flush=True)


if __name__ == "__main__":
    main()
