"""`keras-cmm fit` on what `keras-cmm embed` wrote."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from keras_cmm_cli.accuracy import with_interval
from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.head_training import train_head
from keras_cmm_cli.held_out_images import describe
from keras_cmm_cli.images import is_uri
from keras_cmm_cli.model_folder import describe_run, write_model
from keras_cmm_cli.options import is_given
from keras_cmm_cli.outputs import check_apart, check_new_folder, new_folder
from keras_cmm_cli.prompts import read_prompts
from keras_cmm_cli.run_file import printable
from keras_cmm_cli.terminal import Terminal, counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm import CMMImageClassifier
    from keras_cmm.data import EmbeddingSet

# Options that say something of images. `fit` has no images here.
_NEED_IMAGES = (
    *("image_column", "label_column", "split", "class_names_file", "also", "indices", "test"),
    *("val_fraction", "views", "store", "strict", "check", "report"),
)

# Texts of one class by one model are alike whatever the prompt. By two models they are about at a
# right angle, if they have one width at all.
_LEAST_COSINE = 0.5

# A model of more training images names none of them: their list would weigh more than the model.
_MOST_NAMED = 100_000

# Logits at a time: 64 MiB.
_BLOCK = 1 << 24


def fit_on_embeddings(
    terminal: Terminal,
    path: Path | str,
    output: Path,
    *,
    preset: str | None,
    shots: int | Literal["all"],
    seed: int,
    templates: tuple[str, ...],
    descriptions: Path | None,
    epochs: int | None,
    batch_size: int | None,
    folds: int | None,
    dtype: str | None,
    onnx: bool,
    keep_embeddings: bool,
    overwrite: bool,
) -> None:
    """Trains a classifier on the train rows of embeddings, and tests it on the test rows.

    The arguments are the options of `fit`.
    """
    context = click.get_current_context()
    for option in context.command.params:
        if option.name in _NEED_IMAGES and is_given(option.name):
            raise click.UsageError(
                f"{option.opts[0]} needs images, and {path} holds embeddings; leave it out."
            )
    check_apart({"--output": output}, (None if is_uri(path) else Path(path), descriptions))
    check_new_folder(output, overwrite)
    with terminal.status("loading Keras"):
        load_keras()
    from keras_cmm import CMMImageClassifier
    from keras_cmm.data import EmbeddingSet, sample_few_shot
    from keras_cmm.utils import LazyRows
    from keras_cmm_runtime import InputError

    with terminal.status("opening the embeddings"):
        data = EmbeddingSet.read(path)
    terminal.note(
        f"{path}: {counted(len(data.train_labels), 'train row', 'train rows')} of "
        f"{counted(data.num_classes, 'class', 'classes')}, by {data.backbone}."
    )
    prompts = read_prompts(templates, descriptions, data.class_names)
    name = preset or data.backbone
    try:
        with terminal.status("loading CLIP"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*makes a new classifier of the saved one's classes")
            classifier = CMMImageClassifier.from_preset(
                name, class_names=data.class_names, dtype=dtype, **prompts
            )
    except InputError as error:
        if preset is not None:
            raise
        raise click.UsageError(
            f"{path}: the model that made it, {name!r}, cannot be loaded by that name; name it or "
            f"its folder by --preset. ({error})"
        ) from error
    _check_same_model(path, data, name, classifier)
    sample = sample_few_shot(data.train_labels, shots, seed=seed, keys=data.keys("train"))
    rows, labels = sample.indices, data.train_labels[sample.indices]
    embeddings = LazyRows(data.train_embeddings)[rows]
    history = train_head(terminal, classifier, embeddings, labels, epochs, batch_size, seed)
    if folds is not None:
        with terminal.status("cross-validating"):
            classifier.head.calibrate_unknowns(embeddings, labels, folds, seed, classifier.recipe_)
    run = describe_run(classifier, sample, name, history, seed, dtype)
    run["embeddings"] = {"path": printable(str(path)), "train_rows": len(data.train_labels)}
    run["images"] = []
    # The keys of a folder are digests of the image files, those of a file need not be.
    is_folder = is_uri(path) or Path(path).is_dir()
    if is_folder and data.train_keys is not None and len(rows) <= _MOST_NAMED:
        run["images"] = [
            {"name": f"row {row}", "label": data.class_names[label], "sha256": bytes(key).hex()}
            for row, label, key in zip(rows, labels.tolist(), data.train_keys[rows], strict=True)
        ]
    with terminal.status("testing"):
        run["evaluation"] = _measure(classifier, data)
    if not keep_embeddings:
        classifier.support_images = None
    with new_folder(output, overwrite) as folder:
        write_model(folder, classifier, sample, run, onnx)
    terminal.note(describe(run["evaluation"], data.num_classes))
    terminal.result(
        f"{output}: {data.num_classes} classes, {len(labels)} training images, "
        f"{counted(len(history['loss']), 'epoch', 'epochs')}, top-1 on the test rows "
        f"{with_interval(run['evaluation']['top1'], len(data.test_labels))}"
    )


def _check_same_model(
    path: Path | str, data: EmbeddingSet, preset: str, classifier: CMMImageClassifier
) -> None:
    """Raises a usage error if the embeddings are not of the model that is loaded."""
    from keras_cmm_runtime.utils import unit_rows

    ours, theirs = classifier.head.text_embeddings, unit_rows(data.text_embeddings)
    if ours.shape != theirs.shape:
        reason = f"its embeddings have {theirs.shape[1]} dimensions, and {preset} {ours.shape[1]}"
    elif (ours * theirs).sum(axis=1).mean() < _LEAST_COSINE:
        reason = f"its class texts are not those of {preset}"
    else:
        return
    raise click.UsageError(
        f"{path}: {reason}; give as --preset the model that made them ({data.backbone!r})."
    )


def _measure(classifier: CMMImageClassifier, data: EmbeddingSet) -> dict[str, Any]:
    """Returns what the record of the run says of the test rows; see `describe`."""
    import numpy as np

    from keras_cmm.evaluation import interval_of_accuracy, macro_f1

    labels = data.test_labels
    predicted = _predicted(classifier, data.test_embeddings)
    accuracy = float(100 * np.mean(predicted == labels))
    return {
        "protocol": f"of the test rows ({data.protocol})",
        "images": len(labels),
        "classes": len(set(labels.tolist())),
        "trained_on": 0,
        "left_out_copies": 0,
        "top1": accuracy,
        "top1_interval": list(interval_of_accuracy(accuracy, len(labels))),
        "macro_f1": macro_f1(predicted, labels),
    }


def _predicted(
    classifier: CMMImageClassifier, embeddings: npt.NDArray[np.floating]
) -> npt.NDArray[np.int64]:
    """Returns the most probable class of each row. The rows are read some at a time."""
    import numpy as np

    from keras_cmm.utils import LazyRows

    rows, step = LazyRows(embeddings), max(1, _BLOCK // len(classifier.class_names))
    parts = [
        classifier.predict_embeddings(np.asarray(rows[first : first + step])).argmax(axis=1)
        for first in range(0, len(rows), step)
    ]
    return np.concatenate(parts)
