"""`keras-cmm fit`: from a folder of images to a classifier."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from keras_cmm_cli.accuracy import with_interval
from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.images import (
    ImagesGiven,
    embed_images,
    embed_list,
    find_broken,
    images_options,
    split_option,
)
from keras_cmm_cli.leakage import rows_without_copies
from keras_cmm_cli.model_folder import INDICES_FILE, describe_run, write_model
from keras_cmm_cli.options import (
    DTYPES,
    Shots,
    preset_option,
    refuse_together,
    report_option,
    seed_option,
    strict_option,
)
from keras_cmm_cli.outputs import REPORT, check_apart, check_new_file, check_new_folder, new_folder
from keras_cmm_cli.prompts import prompt_options, read_prompts
from keras_cmm_cli.reporting import classifier_sections
from keras_cmm_cli.run_file import image_records
from keras_cmm_cli.store import open_store, store_options
from keras_cmm_cli.support_set import draw_support_set, warn_of_copies
from keras_cmm_cli.terminal import Terminal, counted, with_terminal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

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
@preset_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option(
    "--shots",
    type=Shots(),
    default="all",
    show_default=True,
    help="Training images a class, drawn by --seed, or all. --report tests on the others.",
)
@click.option(
    "--indices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"The {INDICES_FILE} of an earlier run, to train on the same images; instead of --shots.",
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
    preset: str,
    output: Path,
    shots: int | Literal["all"],
    indices: Path | None,
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

    --report tests the classifier on the images that were not drawn, but for copies of training
    images.
    """
    if indices is not None:
        refuse_together("indices", "shots")
        refuse_together("indices", "check")
    check_apart(
        {"--output": output, "--report": report},
        (given.images_dir, given.table, class_names_file, descriptions, indices),
    )
    check_new_folder(output, overwrite)
    if report is not None:
        check_new_file(report, overwrite, REPORT)
    with terminal.status("loading Keras"):
        load_keras()
    from keras_cmm.data import FewShotSample, read_class_names
    from keras_cmm.evaluation import top_1
    from keras_cmm_runtime.utils import listed

    class_names = None if class_names_file is None else read_class_names(class_names_file)
    images = given.open(terminal, split, class_names)
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
            preset, class_names=images.class_names, dtype=dtype, **prompts
        )
    if saved_class_names(preset_path(preset)) is not None:
        warnings.warn(
            f"{preset}: is a trained classifier. Only its CLIP is used; a new head is trained on "
            "these images alone.",
            stacklevel=2,
        )
    classifier.embedder.store = open_store(store)
    if report is not None and shots == "all" and indices is None:
        warnings.warn(
            "all images are trained on, so --report has none to test on; give --shots K.",
            stacklevel=2,
        )
    if sample is None:
        if check:
            broken = find_broken(terminal, classifier.embedder, images.images, strict)
        sample, embeddings = draw_support_set(
            terminal, classifier.embedder, images, shots, seed, strict, broken
        )
    else:
        embeddings = embed_images(
            terminal, classifier.embedder, images.take(sample.indices).images, strict=True
        ).embeddings
    support = images.take(sample.indices)
    history = _train(terminal, classifier, embeddings, support.labels, epochs, batch_size, seed)
    if folds is not None:
        with terminal.status("cross-validating"):
            classifier.head.calibrate_unknowns(
                embeddings, support.labels, folds, seed, classifier.recipe_
            )

    run = describe_run(classifier, sample, preset, history, seed, dtype)
    run["images"] = image_records(support)
    warn_of_copies(run["images"])
    if not keep_embeddings:
        classifier.support_images = None
    with new_folder(output, overwrite) as folder:
        write_model(folder, classifier, sample, run, onnx)
    if report is not None:
        drawn = {*sample.indices.tolist(), *broken}
        rest = [row for row in range(len(images)) if row not in drawn]
        _report(terminal, report, classifier, images.take(rest), run, (embeddings, support))
    accuracy = top_1(classifier.predict_embeddings(embeddings), support.labels)
    trained = len(set(support.labels.tolist()))
    terminal.result(
        f"{output}: {len(images.class_names)} classes, {len(support)} training images, "
        f"{counted(len(history['loss']), 'epoch', 'epochs')}, top-1 on the training images "
        f"{with_interval(accuracy, len(support))} of {counted(trained, 'class', 'classes')}"
    )


def _report(
    terminal: Terminal,
    path: Path,
    classifier: CMMImageClassifier,
    images: ImageSource,
    run: dict[str, Any],
    trained_on: tuple[npt.NDArray[np.float32], ImageSource],
) -> None:
    """Writes the report, with tests on `images`, unless they are copies of training images."""
    from keras_cmm.evaluation import top_1
    from keras_cmm.report import ReportContent, write_report

    sections: dict[str, Any] = {}
    summary = "All images were drawn for training, so there is none to test on."
    if len(images):
        embeddings, images = embed_list(terminal, classifier.embedder, images, strict=False)
        rows = rows_without_copies(embeddings, images, *trained_on)
        copies = len(images) - len(rows)
        embeddings, images = embeddings[rows], images.take(rows)
        summary = "All other images are copies of training images, so there is none to test on."
    if len(images):
        sections = classifier_sections(classifier, embeddings, images.labels, images.images)
        tested = counted(len(images), "image that was", "images that were")
        summary = f"Tested on the {tested} not drawn for training."
        if copies:
            summary += f" Left out: {counted(copies, 'copy', 'copies')} of training images."
        accuracy = top_1(classifier.predict_embeddings(embeddings), images.labels)
        terminal.note(
            f"Test: top-1 {with_interval(accuracy, len(images))} on "
            f"{counted(len(images), 'image', 'images')} not trained on, of "
            f"{len(set(images.labels.tolist()))} of {len(images.class_names)} classes."
        )
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


def _train(
    terminal: Terminal,
    classifier: CMMImageClassifier,
    embeddings: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer],
    epochs: int | None,
    batch_size: int | None,
    seed: int,
) -> dict[str, list[float]]:
    """Trains the head and shows the progress over the epochs; returns the history."""
    import keras

    from keras_cmm.utils import is_shown

    with terminal.progress("training the head") as progress:

        def show(epoch: int, logs: dict[str, float]) -> None:
            progress(epoch + 1, callback.params["epochs"])
            if is_shown(epoch, callback.params["epochs"]):
                values = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
                terminal.detail(f"epoch {epoch + 1} of {callback.params['epochs']}: {values}")

        callback = keras.callbacks.LambdaCallback(on_epoch_end=show)

        history = classifier.fit_embeddings(
            embeddings,
            # Names, since a class may be called by a number.
            [classifier.class_names[label] for label in labels.tolist()],
            batch_size=batch_size,
            epochs=epochs,
            seed=seed,
            verbose=0,
            callbacks=[callback],
        )
    return {name: [float(value) for value in values] for name, values in history.history.items()}
