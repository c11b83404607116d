"""The files of a model folder: the model, the few-shot draw, the run and a model card."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_cmm_cli.run_file import AS_THE_PRESET, RUN_FORMAT, command_line, printable

if TYPE_CHECKING:
    from keras_cmm import CMMImageClassifier
    from keras_cmm.data import FewShotSample

INDICES_FILE = "few_shot_indices.json"


def describe_run(
    classifier: CMMImageClassifier,
    sample: FewShotSample,
    preset: str,
    history: dict[str, list[float]],
    seed: int,
    dtype: str | None = None,
) -> dict[str, Any]:
    """Returns the content of the run file, from which the training can be repeated."""
    from keras_cmm.evaluation import versions

    head, recipe = classifier.head, classifier.recipe_
    template = classifier.template
    return {
        "format": RUN_FORMAT,
        "command": command_line(),
        "preset": printable(preset),
        "class_names": list(classifier.class_names),
        "templates": [template] if isinstance(template, str) else template and list(template),
        "descriptions": classifier.descriptions,
        "shots": sample.shots,
        "seed": seed,
        "hyperparameters": {
            "recipe": type(recipe).__name__,
            "epochs": len(history["loss"]),
            "batch_size": recipe.batch_size,
            "optimizer": "AdamW, cosine schedule",
            "learning_rate": recipe.learning_rate,
            "weight_decay": recipe.weight_decay,
            "alpha": head.alpha,
            "logit_scale": head.logit_scale,
            "clip_weight": head.clip_weight,
            "triplet_weight": head.triplet_weight,
            "contrastive_weight": head.contrastive_weight,
            "train_temperature": head.train_temperature,
            "margin": head.triplet_loss.margin,
            "train_prototypes": head.train_prototypes,
            "temperature": head.temperature,
            "dtype": dtype or AS_THE_PRESET,
        },
        "training": {name: values[-1] for name, values in history.items()},
        "versions": versions(),
    }


def write_model(
    folder: Path,
    classifier: CMMImageClassifier,
    sample: FewShotSample,
    run: dict[str, Any],
    onnx: bool = True,
) -> None:
    """Writes a classifier, its few-shot draw, its run and a model card.

    Args:
        folder: An existing, empty folder.
        classifier: The trained classifier.
        sample: The draw of its training images.
        run: What `describe_run` returned, with `images` added.
        onnx: Whether to write `classifier.onnx` too.
    """
    if classifier.support_images is not None and run["images"]:
        names = [image["name"] for image in run["images"]]
        classifier.support_images = replace(classifier.support_images, names=names)
    _write_classifier(folder, classifier, onnx)
    sample.save(folder / INDICES_FILE)
    _write_record(folder, run)


def write_grown_model(
    folder: Path,
    classifier: CMMImageClassifier,
    model_dir: Path,
    run: dict[str, Any] | None,
    onnx: bool = True,
) -> None:
    """Writes a classifier whose classes were changed after `fit`.

    Args:
        folder: An existing, empty folder.
        classifier: The classifier.
        model_dir: The folder that it was loaded from.
        run: The content of the run file, or `None` if there was none.
        onnx: Whether to write `classifier.onnx` too.
    """
    _write_classifier(folder, classifier, onnx)
    if (model_dir / INDICES_FILE).is_file():
        shutil.copyfile(model_dir / INDICES_FILE, folder / INDICES_FILE)
    _write_record(folder, run)


def _write_classifier(folder: Path, classifier: CMMImageClassifier, onnx: bool) -> None:
    from keras_cmm_runtime import ONNX_FILE, InputError

    classifier.save_to_preset(str(folder))
    if onnx:
        try:
            classifier.export(folder / ONNX_FILE, format="onnx", verbose=False)
        except InputError as error:  # The model is whole without it.
            warnings.warn(f"no {ONNX_FILE} is written: {error}", stacklevel=2)


def _write_record(folder: Path, run: dict[str, Any] | None) -> None:
    from keras_cmm.hub import model_card
    from keras_cmm_runtime import ONNX_FILE
    from keras_cmm_runtime.utils import read_digests, write_digests

    if run is not None:
        card = model_card(run, has_onnx=(folder / ONNX_FILE).is_file())
        (folder / "README.md").write_text(card, encoding="utf-8")
    write_digests(folder, run, known=read_digests(folder))
