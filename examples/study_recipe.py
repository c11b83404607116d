"""What each ingredient of CMM's default recipe does, and how its constants were chosen.

    python examples/study_recipe.py ablation dtd.safetensors caltech101.safetensors
    python examples/study_recipe.py constants dtd.safetensors caltech101.safetensors

takes embeddings files (`keras-cmm embed` writes them). Nothing here sees a test row: a classifier
is scored on the validation rows and on the train rows that were not drawn for its support set.

`ablation` removes one ingredient at a time. `constants` varies one constant at a time and says, for
each data set, which value the OTHER data sets would have chosen (leave-one-dataset-out), and what
the data set loses by that choice against its own best value.

`--support missing` withholds every image of half of the classes, `--support few` of all but one
class in twenty. `--support uneven` leaves between one image and all of a class, evenly spread on a
logarithmic scale.

Where train embeddings are means of augmented views, so are those of the rows left over, but a test
image is seen once: `--view-noise stanford_cars=0.25` gives these rows of a data set the deviation
that they lack.

`--label-noise 0.05` gives this part of the support set the label of another class, drawn at random.

`--meaningless-texts` puts random texts near their mean in place of the classes' own: they tell as
little of the images as numbers for names do.

`--classes 20` cuts every data set into parts of 20 neighbouring classes, which in ImageNet are
alike, and takes the mean of at most ten parts: users mostly have few classes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import click
import numpy as np

from keras_cmm import AutoRecipe, TrainingRecipe
from keras_cmm.data import EmbeddingSet, sample_few_shot
from keras_cmm.evaluation import top_1
from keras_cmm.methods import CMM, FewShotMethod, FewShotTask, NearestMean, ZeroShot


@dataclass(frozen=True)
class WithoutMap(AutoRecipe):
    """Prototypes start as in `AutoRecipe`, before its map; the map starts at the identity."""

    def closed_form(self, embeddings, labels, text_embeddings):
        """Undoes the map, in the start and in the prototypes."""
        start = super().closed_form(embeddings, labels, text_embeddings)
        return start._replace(
            transform=np.eye(len(start.transform), dtype="float32"),
            prototypes=unit(np.linalg.solve(start.transform, start.prototypes.T).T),
        )


@dataclass(frozen=True)
class OneRate(AutoRecipe):
    """Trains at one learning rate, whatever the start has left to learn."""

    def training_error(self, head, embeddings, labels):
        """Returns about the mean error of the four sets' starts."""
        return 0.5


AUTO = AutoRecipe()
ABLATION = {
    "zero-shot CLIP": ZeroShot(),
    "nearest mean": NearestMean(),
    "default recipe": AUTO,
    "no closed-form map": WithoutMap(),
    "shrinkage by numbers alone, texts only scaled": replace(AUTO, shrinkage_factor=1e9),
    "texts alone as start of the prototypes": replace(AUTO, prior_shots=1e6),
    "images alone as start of the prototypes": replace(AUTO, prior_shots=1e-3),
    "no text rows": replace(AUTO, text_rows=False),
    "no triplet loss": CMM(AUTO, triplet_weight=0.0, calibrate=False),
    "with a contrastive loss": CMM(AUTO, contrastive_weight=0.25, calibrate=False),
    "logits not softened in training": replace(AUTO, train_temperature=1.0),
    "logits not adjusted to the images a class": replace(AUTO, logit_adjustment=0.0),
    "no training, the start alone": replace(AUTO, learning_rate=1e-12),
    "one learning rate, whatever is left to learn": OneRate(),
    "one learning rate, for any number of images": replace(AUTO, rate_exponent=0.0),
    "one logit scale, for any number of shots": replace(AUTO, shot_scale=40.0, shot_exponent=0.0),
    "no text logits in the prototypes": replace(AUTO, text_share=0.0),
    "texts trusted, whatever they tell": replace(AUTO, text_trust=1.0),
    "plain recipe": TrainingRecipe(),
}
CONSTANTS = {
    "learning_rate": (1.25e-4, 2.5e-4, 5e-4),
    "rate_exponent": (0.0, 0.25, 0.5),
    "min_steps": (75, 150, 300),
    "shot_scale": (10.0, 20.0, 40.0),
    "shot_exponent": (0.4, 0.6, 0.8),
    "text_share": (0.25, 0.5, 0.75),
    "prior_shots": (1.0, 2.0, 4.0),
    "shrinkage_factor": (2.0, 4.0, 8.0),
    "train_temperature": (1.0, 2.0, 3.0),
    "logit_adjustment": (0.75, 1.5, 3.0),
}


def mean_accuracy(parts: list[EmbeddingSet], *arguments) -> float:
    """Returns the mean of `accuracy` over parts of a data set."""
    return float(np.mean([accuracy(data, *arguments) for data in parts]))


def row_of(recipe, parts: list[EmbeddingSet], numbers: list[int], *draws) -> list[float]:
    """Returns the accuracy at each number of shots. A number that stands twice is run once."""
    found = {number: mean_accuracy(parts, recipe, number, *draws) for number in set(numbers)}
    return [found[number] for number in numbers]


def accuracy(
    data: EmbeddingSet,
    recipe: TrainingRecipe | FewShotMethod,
    shots: int,
    seeds: range,
    view_noise: dict[str, float],
    support: str,
    label_noise: float,
) -> float:
    """Returns the mean top-1 over the seeds, on rows of `data` that are no test rows."""
    scores = []
    for seed in seeds:
        keys = data.keys("train")
        drawn = sample_few_shot(data.train_labels, shots, seed=seed, keys=keys).indices
        rest = np.setdiff1d(np.arange(len(data.train_labels)), drawn)
        rows, labels = data.train_embeddings[rest], data.train_labels[rest]
        if noise := view_noise.get(data.dataset):
            rows = rows + noise**0.5 * random_deviations(data, len(rows), seed)
        if data.val_embeddings is not None:
            rows, labels = data.val_embeddings, data.val_labels
        if not len(labels):
            raise click.ClickException(
                f"{data.dataset}: {shots} shots leave no row to score on; give fewer."
            )
        drawn = drawn[kept(data.train_labels[drawn], shots, seed, support)]
        task = FewShotTask(
            unit(data.train_embeddings[drawn]),
            mislabelled(
                data.train_labels[drawn].astype("int64"), data.num_classes, seed, label_noise
            ),
            unit(data.text_embeddings),
            data.logit_scale,
            shots,
            seed,
        )
        # The temperature changes no accuracy.
        method = CMM(recipe, calibrate=False) if isinstance(recipe, TrainingRecipe) else recipe
        logits = method.fit(task).predict_logits(unit(rows))
        scores.append(top_1(logits, labels))
    return float(np.mean(scores))


def kept(labels, shots: int, seed: int, support: str):
    """Returns which rows of a support set of `shots` images a class stay in it."""
    classes = labels.max() + 1
    generator = np.random.default_rng(seed)
    number = {
        "even": np.full(classes, shots),
        "missing": np.where(generator.permutation(classes) < classes / 2, shots, 0),
        "uneven": np.round(shots ** generator.random(classes)),
        "few": np.where(generator.permutation(classes) < classes / 20, shots, 0),
    }[support]
    within = [np.count_nonzero(labels[:row] == label) for row, label in enumerate(labels)]
    return within < number[labels]


def mislabelled(labels, classes: int, seed: int, part: float):
    """Returns labels of which a part, drawn at random, is that of another class."""
    generator = np.random.default_rng(seed)
    others = (labels + generator.integers(1, classes, size=len(labels))) % classes
    return np.where(generator.random(len(labels)) < part, others, labels)


def parts_of(data: EmbeddingSet, classes: int | None) -> list[EmbeddingSet]:
    """Returns data sets of so many neighbouring classes, at most ten, or the whole of it."""
    if classes is None or classes >= data.num_classes:
        return [data]
    firsts = range(0, data.num_classes - classes + 1, classes)
    return [part(data, first, first + classes) for first in firsts[:: -(-len(firsts) // 10)]]


def part(data: EmbeddingSet, first: int, end: int) -> EmbeddingSet:
    """Returns the data set of the classes from `first` to before `end`."""
    rows = {}
    for split in ("train", "val", "test"):
        labels = getattr(data, f"{split}_labels")
        if labels is not None:
            chosen = (labels >= first) & (labels < end)
            rows[f"{split}_labels"] = labels[chosen] - first
            rows[f"{split}_embeddings"] = getattr(data, f"{split}_embeddings")[chosen]
    return replace(
        data,
        **rows,
        text_embeddings=data.text_embeddings[first:end],
        train_keys=None,
        val_keys=None,
        class_names=data.class_names[first:end],
    )


def random_deviations(data: EmbeddingSet, number: int, seed: int):
    """Returns what train rows, drawn at random, deviate by from the means of their classes."""
    rows, labels = unit(data.train_embeddings), data.train_labels
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    drawn = np.random.default_rng(seed).integers(len(rows), size=number)
    return rows[drawn] - means[labels[drawn]]


def random_texts(texts):
    """Returns texts that deviate from the mean of the given ones at random, by a quarter."""
    deviations = np.random.default_rng(1).normal(size=texts.shape)
    return unit(unit(unit(texts).mean(axis=0, keepdims=True)) + 0.25 * unit(deviations))


def unit(rows):
    """Returns rows in float32 and of unit length."""
    rows = np.asarray(rows, dtype="float32")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def variances(context, option, given: tuple[str, ...]) -> dict[str, float]:
    """Reads `DATASET=PART`."""
    noise = {}
    for text in given:
        dataset, _, part = text.partition("=")
        try:
            noise[dataset] = float(part)
        except ValueError:
            raise click.BadParameter(f"must be DATASET=PART, as cars=0.25. Got: {text}") from None
        if not noise[dataset] >= 0:
            raise click.BadParameter(f"PART must be 0 or more. Got: {text}")
    return noise


def options(command):
    """Adds the arguments that both studies take."""
    for option in (
        click.argument("files", nargs=-1, required=True, type=click.Path(exists=True)),
        click.option("--shots", default="1,4,12", show_default=True),
        click.option("--seeds", default=2, show_default=True, type=click.IntRange(min=1)),
        click.option(
            "--view-noise",
            multiple=True,
            metavar="DATASET=PART",
            callback=variances,
            help="Variance added to left-over train rows, in parts of that within their classes.",
        ),
        click.option(
            "--support",
            default="even",
            show_default=True,
            type=click.Choice(["even", "uneven", "missing", "few"]),
            help="How many images the classes have.",
        ),
        click.option(
            "--label-noise",
            default=0.0,
            show_default=True,
            type=click.FloatRange(0.0, 1.0),
            help="Part of the support set that has the label of another class.",
        ),
        click.option(
            "--meaningless-texts",
            is_flag=True,
            help="Put random texts in place of the classes' own.",
        ),
        click.option(
            "--classes",
            type=click.IntRange(min=2),
            help="Cut every data set into parts of so many classes.",
        ),
    ):
        command = option(command)
    return command


def read(files, shots, classes, view_noise, meaningless_texts):
    """Reads the files: their names, their parts, and the shots that leave rows to score on."""
    numbers = [int(number) for number in shots.split(",")]
    sets = []
    for file in files:
        data = EmbeddingSet.read(Path(file))
        if meaningless_texts:
            data = replace(data, text_embeddings=random_texts(data.text_embeddings))
        most = int(np.bincount(data.train_labels).max())
        if data.val_embeddings is None:
            most -= 1
        # The same columns for all: a set with fewer rows gives its most shots in the last ones.
        numbers_here = [min(number, most) for number in numbers]
        sets.append((data.dataset, parts_of(data, classes), numbers_here))
    names = [dataset for dataset, _, _ in sets]
    for dataset in view_noise:
        if dataset not in names:
            raise click.UsageError(
                f"--view-noise: no file of {dataset}. Data sets are: {', '.join(names)}"
            )
    return sets


@click.group()
def main() -> None:
    """Study CMM's default recipe on rows that are no test rows."""


@main.command()
@options
@click.option("--only", type=click.Choice(ABLATION), multiple=True, help="Rows to print.")
def ablation(
    files, shots, seeds, view_noise, support, label_noise, meaningless_texts, classes, only
) -> None:
    """Remove one ingredient at a time."""
    sets = read(files, shots, classes, view_noise, meaningless_texts)
    draws = (range(1, seeds + 1), view_noise, support, label_noise)
    names = [f"{dataset} {'/'.join(map(str, numbers))}" for dataset, _, numbers in sets]
    print("| recipe | " + " | ".join(names) + " | mean |")
    print("| --- |" + " --- |" * (len(names) + 1))
    for name in only or ABLATION:
        recipe = ABLATION[name]
        table = np.array([row_of(recipe, parts, numbers, *draws) for _, parts, numbers in sets])
        cells = [
            " / ".join(f"{value:.1f}" for value in row) for row in (*table, table.mean(axis=0))
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


@main.command()
@options
@click.option("--only", type=click.Choice(CONSTANTS), multiple=True, help="Constants to vary.")
def constants(
    files, shots, seeds, view_noise, support, label_noise, meaningless_texts, classes, only
) -> None:
    """Vary one constant at a time; choose it without the data set it is judged on."""
    sets = read(files, shots, classes, view_noise, meaningless_texts)
    print("| constant | values | mean | chosen without each set | lost by that choice |")
    print("| --- | --- | --- | --- | --- |")
    draws = (range(1, seeds + 1), view_noise, support, label_noise)
    known = {}

    def score(dataset, parts, recipe, number):
        # Each constant's row has the default recipe in it.
        key = (dataset, recipe, number)
        if key not in known:
            known[key] = mean_accuracy(parts, recipe, number, *draws)
        return known[key]

    for name in only or CONSTANTS:
        values = CONSTANTS[name]
        scores = np.array(
            [
                [
                    np.mean(
                        [score(dataset, parts, replace(AUTO, **{name: value}), k) for k in numbers]
                    )
                    for value in values
                ]
                for dataset, parts, numbers in sets
            ]
        )
        chosen = [np.delete(scores, row, axis=0).mean(axis=0).argmax() for row in range(len(sets))]
        lost = [scores[row].max() - scores[row, best] for row, best in enumerate(chosen)]
        shown = ["None" if value is None else f"{value:g}" for value in values]
        print(
            f"| {name} | {', '.join(shown)} | "
            f"{', '.join(f'{value:.2f}' for value in scores.mean(axis=0))} | "
            f"{', '.join(shown[best] for best in chosen)} | "
            f"{', '.join(f'{value:.2f}' for value in lost)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
