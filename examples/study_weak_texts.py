"""How CMM and its peers fare as the class texts tell less and less.

    python examples/study_weak_texts.py dtd.safetensors cars.safetensors --output weak.jsonl

takes embeddings files and puts weaker texts in place of the classes' own. The strength of the
weakening goes from 0, the own texts, to 1, where zero-shot CLIP is at chance. The kinds are:

- noise: what a text deviates by from the mean text is mixed with a random deviation as long.
- others: each text is mixed with the mean text of three other classes, drawn at random.
- projection: the deviations are projected to a random subspace. It has fewer dimensions, the
  stronger the weakening: from all to one, evenly spread on a logarithmic scale.
- components: the same, but the subspace is that of the first principal components of the texts.

Every method is fitted and scored by the benchmark's protocol, on the test rows. Nothing is chosen
there. A cell of the table is the top-1 of CMM in percent, and in brackets its lead over the best of
the other methods. A negative lead is the regret of having taken CMM.

`--output` keeps the records. The same command again goes on where it was interrupted. `--figure`
draws the top-1 of CMM, of the best of the others at each place, and of zero-shot CLIP.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import click
import keras
import numpy as np

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation import make_task, top_1
from keras_cmm.methods import CMM, METHODS, FewShotTask

KINDS = ("noise", "others", "projection", "components")
PEERS = ("cmm_plain", "lp_plus_plus", "task_res", "gda", "proker", "clap", "tip_adapter_f")
OTHERS = 3


def weakened(texts, kind: str, strength: float):
    """Returns class texts that tell less, rows of unit length."""
    texts = unit(texts)
    generator = np.random.default_rng(1)
    mean = texts.mean(axis=0)
    deviations = texts - mean
    if kind == "noise":
        random = generator.normal(size=texts.shape)
        random -= random.mean(axis=0)
        random *= (np.linalg.norm(deviations) / np.linalg.norm(random)).astype("float32")
        deviations = (1 - strength) * deviations + strength * random
    elif kind == "others":
        drawn = [shift_of_each(len(texts), generator) for _ in range(OTHERS)]
        deviations = (1 - strength) * deviations + strength * deviations[drawn].mean(axis=0)
    else:
        axes = np.linalg.svd(deviations, full_matrices=False)[2]
        if kind == "projection":
            axes = np.linalg.qr(generator.normal(size=(texts.shape[1],) * 2))[0]
        axes = axes[: round(len(axes) ** (1 - strength))] if strength else np.eye(texts.shape[1])
        deviations = deviations @ axes.T @ axes
    return unit(mean + deviations)


def shift_of_each(number: int, generator):
    """Returns for each of so many classes another one, drawn at random."""
    order = generator.permutation(number)
    others = np.empty(number, dtype=int)
    others[order] = np.roll(order, 1)
    return others


def unit(rows):
    """Returns rows in float32 and of unit length."""
    rows = np.asarray(rows, dtype="float32")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def paths_of(
    data: EmbeddingSet, kinds: tuple[str, ...], strengths: list[float]
) -> Iterator[tuple[str, float, EmbeddingSet]]:
    """Yields the set with its own texts, and with each kind and strength of weaker ones."""
    yield "own texts", 0.0, data
    for kind in kinds:
        for strength in strengths:
            if strength:
                texts = weakened(data.text_embeddings, kind, strength)
                yield kind, strength, replace(data, text_embeddings=texts)


def score(data: EmbeddingSet, task: FewShotTask, name: str) -> float:
    """Fits a method and returns its top-1 on the test rows."""
    keras.utils.set_random_seed(task.seed)
    # The temperature changes no accuracy.
    method = CMM(calibrate=False) if name == "cmm" else METHODS[name]()
    logits = method.fit(task).predict_logits(unit(data.test_embeddings))
    return top_1(logits, data.test_labels)


def key_of(record: dict) -> tuple:
    """Returns what a record is of."""
    return tuple(
        record[each] for each in ("dataset", "kind", "strength", "method", "shots", "seed")
    )


def runs(sets, kinds, strengths, methods, shots, seeds) -> Iterator[tuple]:
    """Yields the key of each run, with its data set; those of one draw follow each other."""
    for data in sets:
        for kind, strength, weak in paths_of(data, kinds, strengths):
            yield (data.dataset, kind, strength, "zero_shot", 0, 0), weak
            for number in shots:
                for seed in seeds:
                    for name in methods:
                        yield (data.dataset, kind, strength, name, number, seed), weak


def run(sets, kinds, strengths, methods, shots, seeds, output: Path) -> list[dict]:
    """Does the runs that the file of records lacks, and returns the records of all."""
    known = {}
    if output.exists():
        for line in output.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            known[key_of(record)] = record
    wanted = []
    for key, data in runs(sets, kinds, strengths, methods, shots, seeds):
        if key not in known:
            dataset, kind, strength, name, number, seed = key
            with warnings.catch_warnings():
                # Draws of fewer rows than asked for, as in a set with 4 rows a class.
                warnings.simplefilter("ignore")
                task = make_task(data, number, seed)
            known[key] = {
                "dataset": dataset,
                "kind": kind,
                "strength": strength,
                "method": name,
                "shots": number,
                "seed": seed,
                "top1": score(data, task, name),
            }
            with output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(known[key]) + "\n")
        wanted.append(known[key])
    return wanted


def means(records: list[dict]) -> dict[tuple, float]:
    """Returns the mean over the seeds by (dataset, kind, strength, method, shots)."""
    found: dict[tuple, list[float]] = {}
    for record in records:
        found.setdefault(key_of(record)[:-1], []).append(record["top1"])
    return {key: float(np.mean(scores)) for key, scores in found.items()}


def rows_of(records: list[dict], shots: list[int]) -> Iterator[tuple]:
    """Yields (dataset, kind, strength, zero-shot, [(top-1, lead, best peer) for each shots])."""
    table = means(records)
    places = dict.fromkeys(key[:3] for key in table)
    for place in places:
        cells = []
        for number in shots:
            scores = {
                key[3]: top1 for key, top1 in table.items() if key[:3] == place and key[4] == number
            }
            own = scores.pop("cmm")
            best = max(scores, key=scores.__getitem__)
            cells.append((own, own - scores[best], best))
        yield (*place, table[(*place, "zero_shot", 0)], cells)


def print_table(records: list[dict], shots: list[int]) -> None:
    """Prints the lead of CMM at each place of the paths, and what is left of it on average."""
    columns = " | ".join(f"{number} shots" for number in shots)
    print(f"| data set | texts | strength | zero-shot | {columns} |")
    print("| --- |" + " --- |" * (3 + len(shots)))
    leads = []
    for dataset, kind, strength, zero_shot, cells in rows_of(records, shots):
        shown = " | ".join(f"{own:.1f} ({lead:+.1f}, {best})" for own, lead, best in cells)
        print(f"| {dataset} | {kind} | {strength:g} | {zero_shot:.1f} | {shown} |")
        leads.append([lead for _, lead, _ in cells])
    for title, values in (("mean lead", np.mean(leads, axis=0)), ("least", np.min(leads, axis=0))):
        print(f"| {title} | | | | " + " | ".join(f"{value:+.1f}" for value in values) + " |")


def draw(records: list[dict], shots: list[int], path: Path) -> None:
    """Draws the accuracies along each path, a panel for each data set, shots and kind."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = list(rows_of(records, shots))
    kinds = list(dict.fromkeys(kind for _, kind, strength, *_ in rows if strength))
    sets = list(dict.fromkeys(row[0] for row in rows))
    lines = [(name, place) for name in sets for place in range(len(shots))]
    figure, axes = pyplot.subplots(
        len(lines),
        len(kinds),
        figsize=(2.6 * len(kinds), 2.2 * len(lines)),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for line, (name, place) in enumerate(lines):
        word = "shot" if shots[place] == 1 else "shots"
        axes[line, 0].set_ylabel(f"{name}, {shots[place]} {word}", fontsize=9)
        for column, kind in enumerate(kinds):
            # The own texts are where every path begins.
            points = sorted(
                (strength, own, own - lead, zero_shot)
                for dataset, each, strength, zero_shot, cells in rows
                if dataset == name and (each == kind or not strength)
                for own, lead, _ in [cells[place]]
            )
            strengths, *curves = zip(*points, strict=True)
            panel = axes[line, column]
            titles = ("CMM", "best of the others", "zero-shot")
            for title, style, values in zip(titles, ("o-", "s--", ":"), curves, strict=True):
                panel.plot(strengths, values, style, markersize=4, linewidth=1.3, label=title)
            panel.tick_params(labelsize=8)
            if not line:
                panel.set_title(kind, fontsize=10)
    axes[0, 0].legend(fontsize=7)
    figure.supxlabel("strength of the weakening", fontsize=10)
    figure.supylabel("top-1 in percent", fontsize=10)
    figure.savefig(path, dpi=100)


def numbers(kind):
    """Returns a reader of `1,4,16`."""

    def read(context, option, given: str) -> list:
        try:
            return [kind(text) for text in given.split(",")]
        except ValueError:
            raise click.BadParameter(f"must be numbers, as 1,4,16. Got: {given}") from None

    return read


def known_names(known):
    """Returns a reader of names that must be among the known ones."""

    def read(context, option, given: str) -> tuple[str, ...]:
        names = tuple(given.split(","))
        for name in names:
            if name not in known:
                raise click.BadParameter(f"must be among {', '.join(known)}. Got: {name}")
        return names

    return read


@click.command(help=(__doc__ or "").split("\n\n", maxsplit=1)[0])
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--kinds", default=",".join(KINDS), show_default=True, callback=known_names(KINDS))
@click.option(
    "--strengths",
    default="0.2,0.4,0.6,0.8,1",
    show_default=True,
    callback=numbers(float),
    help="From 0 to 1.",
)
@click.option("--peers", default=",".join(PEERS), show_default=True, callback=known_names(METHODS))
@click.option("--shots", default="1,4,16", show_default=True, callback=numbers(int))
@click.option("--seeds", default="1,2,3", show_default=True, callback=numbers(int))
@click.option("--figure", type=click.Path(dir_okay=False, path_type=Path))
def main(files, output, kinds, strengths, peers, shots, seeds, figure) -> None:
    """Does the runs, prints the table and draws the figure."""
    if not all(0 <= strength <= 1 for strength in strengths):
        raise click.UsageError("--strengths must be numbers from 0 to 1.")
    sets = [EmbeddingSet.read(file) for file in files]
    records = run(sets, kinds, strengths, ("cmm", *peers), shots, seeds, output)
    print_table(records, shots)
    if figure is not None:
        draw(records, shots, figure)


if __name__ == "__main__":
    main()
