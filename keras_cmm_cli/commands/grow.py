"""`keras-cmm grow`: classes added to a model, removed and renamed, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.images import find_broken
from keras_cmm_cli.model_folder import write_grown_model
from keras_cmm_cli.options import batch_size_option, strict_option, unused_seed_option
from keras_cmm_cli.outputs import check_apart, check_new_folder, new_folder
from keras_cmm_cli.run_file import command_line, file_hash, read_run
from keras_cmm_cli.saved_model import load_classifier, model_argument
from keras_cmm_cli.store import store_options
from keras_cmm_cli.terminal import Terminal, with_terminal

if TYPE_CHECKING:
    from keras_cmm import CMMImageClassifier


class _Addition(NamedTuple):
    name: str
    images: Path | None


class _Pair(click.ParamType):
    """`NAME=VALUE`, split at the first `=`."""

    def __init__(self, metavar: str, is_addition: bool) -> None:
        self.name = metavar
        self._is_addition = is_addition

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Returns an `_Addition`, or the two names."""
        if not isinstance(value, str):
            return value
        left, sign, right = value.partition("=")
        if not left or (sign and not right) or not (sign or self._is_addition):
            self.fail(f"{value!r} must be {self.name}.", param, ctx)
        if not self._is_addition:
            return left, right
        images = Path(right) if sign else None
        if images is not None and not images.exists():
            self.fail(f"{right!r} of the class {left!r} does not exist.", param, ctx)
        return _Addition(left, images)


@click.command(
    epilog="""\b
Examples:
  keras-cmm grow my_model --add fox=fox_photos/ --output grown
  keras-cmm grow my_model --remove fox --rename "crane=crane (bird)" --output grown
"""
)
@model_argument
@click.option(
    "--add",
    "additions",
    multiple=True,
    type=_Pair("NAME=IMAGES", is_addition=True),
    help="Add the class NAME by its images, a file or a folder. NAME alone adds it by its text, "
    "which is less accurate. May be given several times.",
)
@click.option("--remove", "removals", multiple=True, metavar="NAME", help="Remove a class.")
@click.option(
    "--rename",
    "renamings",
    multiple=True,
    type=_Pair("OLD=NEW", is_addition=False),
    help="Rename a class. Its prompts stay those of the old name.",
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@batch_size_option
@store_options
@unused_seed_option
@strict_option
@click.option(
    "--onnx/--no-onnx",
    default=True,
    show_default=True,
    help="Write classifier.onnx too, by which predict and evaluate run without Keras.",
)
@click.option("--overwrite", is_flag=True, help="Replace the model that --output holds.")
@with_terminal
def grow(
    terminal: Terminal,
    model_dir: Path,
    additions: tuple[_Addition, ...],
    removals: tuple[str, ...],
    renamings: tuple[tuple[str, str], ...],
    output: Path,
    batch_size: int | None,
    store: Path | None,
    strict: bool,
    onnx: bool,
    overwrite: bool,
) -> None:
    """Add, remove and rename classes of a model of `fit`, in a new folder.

    Nothing is trained, so it takes seconds. The other classes keep their logits. Classes are
    removed first, then renamed, then added.

    A new class is a little less accurate than by `fit` on the images of all classes, see the
    documentation.
    """
    if not (additions or removals or renamings):
        raise click.UsageError("nothing to do; give --add, --remove or --rename.")
    sources = [addition.images for addition in additions]
    check_apart({"--output": output}, (model_dir, *sources))
    check_new_folder(output, overwrite)
    with terminal.status("loading Keras"):
        load_keras()
    with terminal.status("loading the model"):
        classifier = load_classifier(model_dir, batch_size, store)
    run = read_run(model_dir) or {}
    for name in removals:
        classifier.remove_class(name)
    kept = classifier.class_names
    for old, new in renamings:
        classifier.rename_class(old, new)
    labels = dict(zip(kept, classifier.class_names, strict=True))
    records = [
        image | {"label": labels[image["label"]]}
        for image in run.get("images", [])
        if image["label"] in labels
    ]
    for addition in additions:
        records += _add(terminal, classifier, addition, strict)
    if run:
        run["images"] = records
        run["class_names"] = list(classifier.class_names)
        run["descriptions"] = classifier.descriptions
        run.pop("evaluation", None)  # It was of other classes.
        run["grown"] = [*run.get("grown", []), command_line()]
    with new_folder(output, overwrite) as folder:
        write_grown_model(folder, classifier, model_dir, run or None, onnx)
    terminal.result(
        f"{output}: {len(classifier.class_names)} classes; {len(additions)} added, "
        f"{len(removals)} removed, {len(renamings)} renamed"
    )


def _add(
    terminal: Terminal, classifier: CMMImageClassifier, addition: _Addition, strict: bool
) -> list[dict[str, str]]:
    """Adds a class; returns the records of its images."""
    if addition.images is None:
        classifier.add_class(addition.name)
        return []
    from keras_cmm_runtime.images import image_name
    from keras_cmm_runtime.sources import find_images

    found = find_images([addition.images])
    broken = find_broken(terminal, classifier.embedder, found, strict)
    images = [image for number, image in enumerate(found) if number not in broken]
    if not images:
        raise click.ClickException(
            f"{addition.images}: none of the images of {addition.name!r} can be read."
        )
    with terminal.status("embedding images"):
        classifier.add_class(addition.name, images)
    return [
        {"name": image_name(image), "label": addition.name, "sha256": file_hash(image)}
        for image in images
    ]
