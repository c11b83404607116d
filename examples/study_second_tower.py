"""What a second image encoder beside CLIP gives CMM, and that a useless one does no harm.

    python examples/study_second_tower.py two_towers.safetensors --also emoji_eye
    python examples/study_second_tower.py dtd.safetensors caltech101.safetensors

takes embeddings files. Every row is CMM with the default recipe, scored on the test rows. Nothing
is chosen there: how much a second encoder counts is found from the support set alone.

With `--also NAME` the rows are of CLIP alone, of CLIP with the embeddings NAME of the file, and of
CLIP with two useless encoders: random rows, and NAME with its rows dealt out to other images.

Without, second encoders are made from the file, and the rows say how:

- random: random rows, of 384 numbers. Useless.
- synthetic: rows of 384 numbers that tell the class, made from the labels: a random centre a class
  plus noise. They are made up, and tell nothing of what any encoder would give. They show that
  information which CLIP lacks is used.
- half of CLIP: CLIP's embeddings are turned at random and cut into halves of equal width. One is
  taken for CLIP, with the texts cut alike, and the other for the second encoder. So it is real
  information that was held apart, though not of another model.
- half, of other images: the second half with its rows dealt out to other images. Useless.

A cell is top-1 in percent, the mean over the draws. In brackets is the mean of `also_weight`, how
much the second encoder counts, from 0 to 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import click
import numpy as np

from keras_cmm.data import EmbeddingSet, NamedEmbeddings
from keras_cmm.evaluation import make_task, top_1
from keras_cmm.methods import CMM

WIDTH = 384
SPLITS = ("train", "test", "val")
NAME = "second"


def further(data: EmbeddingSet, make) -> EmbeddingSet:
    """Returns the set with a second encoder, whose rows `make(split, labels)` returns."""
    rows = {
        split: make(split, getattr(data, f"{split}_labels"))
        for split in SPLITS
        if getattr(data, f"{split}_embeddings") is not None
    }
    return replace(data, also={NAME: NamedEmbeddings(**rows)})


def with_random_rows(data: EmbeddingSet) -> EmbeddingSet:
    """Returns the set with an encoder that tells nothing."""
    generator = np.random.default_rng(1)
    return further(data, lambda split, labels: generator.normal(size=(len(labels), WIDTH)))


def with_synthetic_rows(data: EmbeddingSet) -> EmbeddingSet:
    """Returns the set with rows that are made from the labels: a centre a class, and noise."""
    generator = np.random.default_rng(2)
    centres = generator.normal(size=(data.num_classes, WIDTH))
    return further(
        data,
        lambda split, labels: centres[labels] + 3.5 * generator.normal(size=(len(labels), WIDTH)),
    )


def of_other_images(data: EmbeddingSet, name: str) -> EmbeddingSet:
    """Returns the set with the rows of an encoder dealt out to other images."""
    generator, rows = np.random.default_rng(3), data.further(name)
    return further(data, lambda split, labels: generator.permutation(getattr(rows, split)))


def halves(data: EmbeddingSet) -> EmbeddingSet:
    """Returns the set with one half of CLIP's embeddings as CLIP, and the other as the second."""
    dim = data.text_embeddings.shape[1]
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(dim, dim)))[0]
    turned = {
        split: unit(rows) @ turn
        for split in SPLITS
        if (rows := getattr(data, f"{split}_embeddings")) is not None
    }
    first = {f"{split}_embeddings": rows[:, : dim // 2] for split, rows in turned.items()}
    second = {split: rows[:, dim // 2 :] for split, rows in turned.items()}
    texts = (unit(data.text_embeddings) @ turn)[:, : dim // 2]
    # The draws stay those of the whole embeddings.
    keys = {f"{split}_keys": keys_of(data, split) for split in ("train", "val") if split in turned}
    also = {NAME: NamedEmbeddings(**second)}
    return replace(data, **first, **keys, text_embeddings=texts, also=also)


def keys_of(data: EmbeddingSet, split: str):
    """Returns the identities of the images of a split as an array."""
    return np.frombuffer(b"".join(data.keys(split)), dtype="uint8").reshape(-1, 32)


def unit(rows):
    """Returns rows in float32 and of unit length."""
    rows = np.asarray(rows, dtype="float32")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def variants(
    data: EmbeddingSet, name: str | None
) -> Iterator[tuple[str, EmbeddingSet, str | None]]:
    """Yields each row of the table: its title, the set, and the name of the second encoder."""
    yield "CLIP alone", data, None
    if name is not None:
        yield f"CLIP and {name}", data, name
        yield "CLIP and random rows", with_random_rows(data), NAME
        yield f"CLIP and {name} of other images", of_other_images(data, name), NAME
        return
    yield "CLIP and random rows", with_random_rows(data), NAME
    yield "CLIP and synthetic rows", with_synthetic_rows(data), NAME
    half = halves(data)
    yield "half of CLIP alone", half, None
    yield "half of CLIP and the other half", half, NAME
    yield "half of CLIP and the other half, of other images", of_other_images(half, NAME), NAME


def cell(data: EmbeddingSet, also: str | None, shots: int, seeds: range) -> str:
    """Returns the mean top-1 and, with a second encoder, how much it counts."""
    scores, weights = [], []
    test_rows = unit(data.test_embeddings)
    test_also = None if also is None else unit(data.further(also).test)
    for seed in seeds:
        # The temperature changes no accuracy.
        method = CMM(calibrate=False).fit(make_task(data, shots, seed, also=also))
        scores.append(top_1(method.predict_logits(test_rows, test_also), data.test_labels))
        weights.append(method.hyperparameters_.get("also_weight", 0.0))
    text = f"{np.mean(scores):.2f} ± {np.std(scores):.2f}"
    return text if also is None else f"{text} ({np.mean(weights):.2f})"


@click.command(help=(__doc__ or "").split("\n\n", maxsplit=1)[0])
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--also", help="Name of embeddings of a second encoder in the files.")
@click.option("--shots", default="1,2,4,8,16", show_default=True)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--only", multiple=True, help="Rows of the table to print.")
def main(
    files: tuple[Path, ...], also: str | None, shots: str, seeds: int, only: tuple[str, ...]
) -> None:
    """Prints one table a file."""
    numbers = [int(number) for number in shots.split(",")]
    for file in files:
        data = EmbeddingSet.read(file)
        print(f"\n| {data.dataset} | " + " | ".join(f"{number} shots" for number in numbers) + " |")
        print("| --- |" + " --- |" * len(numbers))
        for title, some, name in variants(data, also):
            if not only or title in only:
                cells = [cell(some, name, number, range(1, seeds + 1)) for number in numbers]
                print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
