"""`keras-cmm fit`: from a folder of images to a classifier."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from keras_cmm_cli.accuracy import with_interval
from keras_cmm_cli.embeddings import are_embeddings
from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.fit_on_embeddings import fit_on_embeddings
from keras_cmm_cli.head_training import train_head
from keras_cmm_cli.held_out_images import HeldOutImages, describe, held_out_rows
from keras_cmm_cli.images import (
    ImagesGiven,
    embed_images,
    find_broken,
    images_options,
    split_option,
)
from keras_cmm_cli.model_folder import INDICES_FILE, describe_run, write_model
from keras_cmm_cli.options import (
    DTYPES,
    VIEWS,
    Shots,
    fit_preset_option,
    refuse_together,
    report_option,
    seed_option,
    strict_option,
)
from keras_cmm_cli.outputs import REPORT, check_apart, check_new_file, check_new_folder, new_folder
from keras_cmm_cli.prompts import prompt_options, read_prompts
from keras_cmm_cli.reporting import classifier_sections
from keras_cmm_cli.run_file import image_records, printable
from keras_cmm_cli.store import open_store, store_options
from keras_cmm_cli.support_set import draw_support_set, warn_of_copies
from keras_cmm_cli.terminal import Terminal, counted, with_terminal

if TYPE_CHECKING:
    from keras_cmm import CMMImageClassifier
    from keras_cmm.data import ImageSource


@click.command(
    epilog="""\b
Example:
  keras-cmm fit photos/ --preset clip_vit_base_patch16 --shots 8 --output my_model
"""
)
@images_options
@split_option("train")
@click.option(
    "--class-names",
    "class_names_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text file with all class names, one a line, in the model's order. A class without images "
    "is classified by its name and what the other classes' images teach.  [default: the classes "
    "that have images]",
)
@fit_preset_option
@click.option(
    "--also",
    metavar="PRESET",
    help="A second image encoder beside CLIP, as --preset takes it. The images say how much it "
    "counts. Such a model has no classifier.onnx, so it is run by Keras.",
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option(
    "--shots",
    type=Shots(),
    default="all",
    show_default=True,
    help="Training images a class, drawn by --seed, or all. --report tests on the others, unless "
    "--test or --val-fraction is given.",
)
@click.option(
    "--indices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"The {INDICES_FILE} of an earlier run, to train on the same images; instead of --shots.",
)
@click.option(
    "--test",
    type=click.Path(exists=True, path_type=Path),
    help="Images to test the classifier on, in the form of IMAGES_DIR. If they have splits, the "
    "split test is used.",
)
@click.option(
    "--val-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of each class's images to hold out, by --seed, and to test the classifier on.",
)
@click.option(
    "--views",
    type=VIEWS,
    default=0,
    show_default=True,
    help="Augmented views of each training image to embed beside it: crops, mirrored or not. The "
    "image counts by the mean of its embeddings.",
)
@prompt_options
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Passes over the training images.  [default: as many as 150 steps take]",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="Images a training step.  [default: 256]"
)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    help="Let predict --reject and --coverage judge by all training images, by as many classifiers "
    "that are each trained without a part of them.  [default: by up to 4 images of each class]",
)
@click.option("--dtype", type=click.Choice(DTYPES), help="Precision of the backbone.")
@store_options
@seed_option
@strict_option
@click.option(
    "--check/--no-check",
    default=True,
    show_default=True,
    help="Open every image first, to name all that are damaged, not only those that are drawn.",
)
@click.option(
    "--onnx/--no-onnx",
    default=True,
    show_default=True,
    help="Write classifier.onnx too, by which predict and evaluate run without Keras.",
)
@click.option(
    "--keep-embeddings/--no-keep-embeddings",
    default=True,
    show_default=True,
    help="Keep the embeddings and names of the training images in the model, from which explain "
    "shows the nearest ones.",
)
@report_option
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace the model that --output holds, and the file --report.",
)
@with_terminal
def fit(
    terminal: Terminal,
    given: ImagesGiven,
    split: str,
    class_names_file: Path | None,
    preset: str | None,
    also: str | None,
    output: Path,
    shots: int | Literal["all"],
    indices: Path | None,
    test: Path | None,
    val_fraction: float | None,
    views: int,
    templates: tuple[str, ...],
    descriptions: Path | None,
    epochs: int | None,
    batch_size: int | None,
    folds: int | None,
    dtype: str | None,
    store: Path | None,
    seed: int,
    strict: bool,
    check: bool,
    onnx: bool,
    keep_embeddings: bool,
    report: Path | None,
    overwrite: bool,
) -> None:
    """Train a classifier on IMAGES_DIR, which has one folder of images a class.

    The CLIP backbone stays frozen: every image is embedded once, and the head is trained on the
    embeddings. An image that cannot be read is left out with a warning, and another image of its
    class replaces it. IMAGES_DIR may also be a .zip or .tar archive of such folders, or a .csv or
    .parquet list. If it has splits, the classifier is trained on the split train.

    The output folder holds the model, the few-shot draw, the record of the run and a model card.

    --test and --val-fraction test the classifier on images that it was not trained on, and record
    the accuracy in the model. --report tests it on the images that were not drawn, if neither is
    given. Copies of training images are left out of a test.

    IMAGES_DIR may also be what `embed` wrote, a file or a folder. Then the classifier is trained on
    the train rows and tested on the test rows, and the embeddings need not fit in memory.
    """
    if given.table is None and given.images_dir is not None and are_embeddings(given.images_dir):
        fit_on_embeddings(
            terminal,
            given.images_dir,
            output,
            preset=preset,
            shots=shots,
            seed=seed,
            templates=templates,
            descriptions=descriptions,
            epochs=epochs,
            batch_size=batch_size,
            folds=folds,
            dtype=dtype,
            onnx=onnx,
            keep_embeddings=keep_embeddings,
            overwrite=overwrite,
        )
        return
    if preset is None:
        raise click.UsageError("Missing option '--preset'.")
    if indices is not None:
        refuse_together("indices", "shots")
        refuse_together("indices", "check")
        refuse_together("indices", "val_fraction")
    if test is not None:
        refuse_together("test", "val_fraction")
    check_apart(
        {"--output": output, "--report": report},
        (given.images_dir, given.table, class_names_file, descriptions, indices, test),
    )
    check_new_folder(output, overwrite)
    if report is not None:
        check_new_file(report, overwrite, REPORT)
    with terminal.status("loading Keras"):
        load_keras()
    import numpy as np

    from keras_cmm.data import FewShotSample, read_class_names
    from keras_cmm.evaluation import top_1
    from keras_cmm_runtime.utils import listed

    class_names = None if class_names_file is None else read_class_names(class_names_file)
    images = given.open(terminal, split, class_names)
    test_images = None if test is None else _open_test(given, test, images.class_names)
    prompts = read_prompts(templates, descriptions, images.class_names)
    broken: list[int] = []
    sample = None
    if indices is not None:
        sample = FewShotSample.load(indices, labels=images.labels, keys=images.keys())

    from keras_cmm import CMMImageClassifier
    from keras_cmm.clip import preset_path
    from keras_cmm.models import saved_class_names

    with_images = set(images.labels.tolist())
    terminal.note(
        f"{given.path}: {counted(len(images), 'image', 'images')} of "
        f"{counted(len(with_images), 'class', 'classes')}."
    )
    zero_shot = [name for row, name in enumerate(images.class_names) if row not in with_images]
    if zero_shot:
        terminal.note(f"Zero-shot classes, which have no images: {listed(zero_shot)}.")
    with terminal.status("loading CLIP"), warnings.catch_warnings():
        # The warning recommends an argument that only Python has.
        warnings.filterwarnings("ignore", ".*makes a new classifier of the saved one's classes")
        classifier = CMMImageClassifier.from_preset(
            preset, class_names=images.class_names, dtype=dtype, also=also, **prompts
        )
    if saved_class_names(preset_path(preset)) is not None:
        warnings.warn(
            f"{preset}: is a trained classifier. Only its CLIP is used; a new head is trained on "
            "these images alone.",
            stacklevel=2,
        )
    classifier.embedder.store = open_store(store)
    has_test = test is not None or val_fraction is not None
    if report is not None and shots == "all" and indices is None and not has_test:
        warnings.warn(
            "all images are trained on, so --report has none to test on; give --test, "
            "--val-fraction or --shots K.",
            stacklevel=2,
        )
    held_out: list[int] = []
    left_out: list[int] = []
    if sample is None:
        if check:
            broken = find_broken(terminal, classifier.embedder, images.images, strict)
        if val_fraction is not None:
            readable = np.setdiff1d(np.arange(len(images)), broken)
            rows = held_out_rows(images.labels[readable].tolist(), val_fraction, seed)
            held_out = readable[rows].tolist()
        left_out = [*broken, *held_out]
        sample, embeddings = draw_support_set(
            terminal, classifier.embedder, images, shots, seed, strict, left_out, views
        )
    else:
        embeddings = embed_images(
            terminal, classifier.embedder, images.take(sample.indices).images, True, views
        ).embeddings
    support = images.take(sample.indices)
    protocol = f"of --test {test}"
    if val_fraction is not None:
        test_images = images.take(held_out)
        protocol = f"held out by --val-fraction {val_fraction:g}"
    elif test is None and report is not None:
        others = np.setdiff1d(np.arange(len(images)), [*sample.indices, *left_out])
        test_images, protocol = images.take(others), "not trained on"
    test_set = None
    if test_images is not None and len(test_images):
        trained_on = embeddings
        if views:  # Copies are found by the embeddings of the images themselves.
            trained_on = embed_images(
                terminal, classifier.embedder, support.images, strict=True
            ).embeddings
        # Before the training, so that nothing is trained in vain if no image can be read.
        test_set = HeldOutImages.embed(
            terminal, classifier.embedder, test_images, (trained_on, support), printable(protocol)
        )
    history = train_head(terminal, classifier, embeddings, support.labels, epochs, batch_size, seed)
    if folds is not None:
        with terminal.status("cross-validating"):
            classifier.head.calibrate_unknowns(
                embeddings, support.labels, folds, seed, classifier.recipe_
            )

    run = describe_run(classifier, sample, preset, history, seed, dtype)
    if views:
        run["hyperparameters"]["views"] = views
    if also is not None:
        weight = float(classifier.head.mapping.also_weight)
        run["also"] = {"preset": printable(also), "weight": weight}
        terminal.note(f"{also} counts {weight:.2f} times as much as CLIP's image encoder.")
    run["images"] = image_records(support)
    warn_of_copies(run["images"])
    if test_set is not None and len(test_set.images):
        run["evaluation"] = test_set.measure(classifier)
    if not keep_embeddings:
        classifier.support_images = None
    with new_folder(output, overwrite) as folder:
        write_model(folder, classifier, sample, run, onnx and also is None)
    if "evaluation" in run:
        terminal.note(describe(run["evaluation"], len(images.class_names)))
    if report is not None:
        _report(terminal, report, classifier, test_set, run)
    accuracy = top_1(classifier.predict_embeddings(embeddings), support.labels)
    trained = len(set(support.labels.tolist()))
    terminal.result(
        f"{output}: {len(images.class_names)} classes, {len(support)} training images, "
        f"{counted(len(history['loss']), 'epoch', 'epochs')}, top-1 on the training images "
        f"{with_interval(accuracy, len(support))} of {counted(trained, 'class', 'classes')}"
    )


def _open_test(given: ImagesGiven, path: Path, class_names: Sequence[str]) -> ImageSource:
    """Opens the images of `--test`, whose columns have the names of the training images'."""
    tested = ImagesGiven(path, None, given.image_column, given.label_column)
    ((_, images),) = tested.open_splits(["test"], class_names).items()
    return images


def _report(
    terminal: Terminal,
    path: Path,
    classifier: CMMImageClassifier,
    test_set: HeldOutImages | None,
    run: dict[str, Any],
) -> None:
    """Writes the report, with the test if there is one."""
    from keras_cmm.report import ReportContent, write_report

    sections: dict[str, Any] = {}
    if test_set is None:
        summary = "All images were drawn for training, so there is none to test on."
    elif "evaluation" not in run:
        summary = "All other images are copies of training images, so there is none to test on."
    else:
        images = test_set.images
        sections = classifier_sections(
            classifier, test_set.embeddings, images.labels, images.images
        )
        summary = f"Tested on {counted(len(images), 'image', 'images')} {test_set.protocol}."
        if test_set.copies:
            copies = counted(test_set.copies, "copy", "copies")
            summary += f" Left out: {copies} of training images."
    content = ReportContent(
        f"Few-shot classifier of {len(classifier.class_names)} classes",
        summary=summary,
        classifier_name="the classifier",
        command=run["command"],
        versions=run["versions"],
        hyperparameters=run["hyperparameters"],
        **sections,
    )
    write_report(path, content)
    terminal.note(f"{path}: the report.")
