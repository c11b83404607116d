"""`keras-cmm demo`: the whole pipeline on the pictures that come with the package."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.accuracy import with_interval
from keras_cmm_cli.benchmark_tables import benchmark_tables
from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.images import embed_images
from keras_cmm_cli.model_folder import describe_run, write_model
from keras_cmm_cli.options import MAX_SEED, CommaSeparated
from keras_cmm_cli.outputs import check_new_folder, new_folder, write_json
from keras_cmm_cli.reporting import classifier_sections
from keras_cmm_cli.run_file import command_line, image_records
from keras_cmm_cli.terminal import Terminal, with_terminal

if TYPE_CHECKING:
    from keras_cmm.data import DemoSet, EmbeddingSet

PRESET = "emoji_clip_tiny"
TEMPLATES = ("{}", "an emoji of {}", "an emoji of a {}.")
METHODS = ("zero_shot", "nearest_mean", "tip_adapter_f", "cmm")
NUM_SEEDS = 3


@click.command(
    epilog="""\b
Example:
  keras-cmm demo --output demo --shots 1,4,16
"""
)
@click.option(
    "--output",
    default="keras-cmm-demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder to make.",
)
@click.option(
    "--shots",
    type=CommaSeparated(click.IntRange(min=1), "K,..."),
    default="1,2,4,8,16",
    show_default=True,
    help="Numbers of training pictures a class.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED - (NUM_SEEDS - 1)),
    default=1,
    show_default=True,
    help="Seed of everything random.",
)
@click.option("--overwrite", is_flag=True, help="Replace the demo that --output holds.")
@with_terminal
def demo(terminal: Terminal, output: Path, shots: list[int], seed: int, overwrite: bool) -> None:
    """Train and compare methods on the pictures that come with the package, offline.

    The pictures are emoji of people in roles and activities, from a vendor that the bundled CLIP
    never saw. Zero-shot CLIP, nearest mean, Tip-Adapter-F and CMM classify them at several numbers
    of shots, with three seeds from --seed on. Then a classifier is trained on the most shots.

    The output folder holds the pictures, their embeddings (for `keras-cmm benchmark`), the records
    in results.json, the classifier in model/, report.html and its figures as PNG in plots/.
    """
    check_new_folder(output, overwrite, "demo")
    load_keras()
    from keras_cmm import CMMImageClassifier
    from keras_cmm.data import DemoSet, ImageList, sample_few_shot
    from keras_cmm.evaluation import run_benchmark, top_1
    from keras_cmm.report import ReportContent, write_plots, write_report
    from keras_cmm_runtime.utils import write_digests

    pictures = DemoSet.load()
    classifier = CMMImageClassifier.from_preset(
        PRESET, class_names=pictures.class_names, template=TEMPLATES
    )
    terminal.note(
        f"{len(pictures.class_names)} classes; {len(pictures.train_labels)} pictures to draw from, "
        f"{len(pictures.test_labels)} to test on."
    )
    data = _embed(terminal, classifier, pictures)

    records: list[dict[str, Any]] = []
    seeds = range(seed, seed + NUM_SEEDS)
    total = 1 + len(seeds) * len(shots) * (len(METHODS) - 1)
    with terminal.progress("comparing methods") as progress:

        def keep(record: dict[str, Any]) -> None:
            records.append(record)
            progress(len(records), total)

        run_benchmark([data], METHODS, shots, seeds, on_record=keep)

    # The comparison leaves out more shots than that, with a warning.
    most = min(max(shots), max(Counter(pictures.train_labels.tolist()).values()))
    sample = sample_few_shot(pictures.train_labels, most, seed=seed, keys=pictures.train_keys)
    history = classifier.fit_embeddings(
        data.train_embeddings[sample.indices],
        data.train_labels[sample.indices],
        seed=seed,
        verbose=0,
    ).history
    run = describe_run(classifier, sample, PRESET, history, seed)
    accuracy = top_1(classifier.predict_embeddings(data.test_embeddings), data.test_labels)

    content = ReportContent(
        "Few-shot classification of emoji people",
        summary=(
            f"{len(pictures.class_names)} roles and activities, drawn by a vendor that the frozen "
            f"CLIP ({PRESET}) never saw. The final classifier is CMM on {most} pictures a "
            f"class: top-1 {with_interval(accuracy, len(pictures.test_labels))} on "
            f"{len(pictures.test_labels)} test pictures of all classes."
        ),
        records=records,
        classifier_name=f"CMM, {most} shots",
        command=command_line(),
        versions=run["versions"],
        hyperparameters=run["hyperparameters"],
        **classifier_sections(
            classifier, data.test_embeddings, data.test_labels, pictures.test_images
        ),
    )
    with new_folder(output, overwrite) as folder:
        pictures.export(folder / "pictures")
        images = ImageList.from_folder(folder / "pictures" / "train")
        run["images"] = image_records(images.take(sample.indices))
        (folder / "model").mkdir()
        write_model(folder / "model", classifier, sample, run)
        data.write(folder / "embeddings.safetensors")
        write_json(folder / "results.json", records)
        write_report(folder / "report.html", content)
        (folder / "plots").mkdir()
        write_plots(folder / "plots", content)
        write_digests(folder)
    for table in benchmark_tables(records, terminal.plus_minus):
        terminal.result(table.to_rich())
        terminal.result("")
    terminal.result(
        f"{content.classifier_name}: top-1 {with_interval(accuracy, len(pictures.test_labels))} on "
        f"{len(pictures.test_labels)} test pictures, saved in {output / 'model'}"
    )
    terminal.result(f"Look at {output / 'report.html'}, then try")
    to_try = ["keras-cmm", "predict", str(output / "model"), str(output / "pictures" / "test")]
    terminal.result(f"  {shlex.join([*to_try, '--top-k', '3'])}")


def _embed(terminal: Terminal, classifier: Any, pictures: DemoSet) -> EmbeddingSet:
    from keras_cmm.data import EmbeddingSet, key_digests

    train, test = (
        embed_images(terminal, classifier.embedder, images, strict=True).embeddings
        for images in (pictures.train_images, pictures.test_images)
    )
    return EmbeddingSet(
        train_embeddings=train,
        train_labels=pictures.train_labels,
        train_keys=key_digests(pictures.train_keys),
        test_embeddings=test,
        test_labels=pictures.test_labels,
        text_embeddings=classifier.text_embeddings,
        class_names=list(pictures.class_names),
        dataset="demo",
        backbone=PRESET,
        logit_scale=classifier.head.logit_scale,
        protocol="demo",
        notes="the pictures of `keras-cmm demo`; see keras_cmm/assets/demo/README.md",
    )
