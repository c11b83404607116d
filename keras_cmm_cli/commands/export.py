"""`keras-cmm export`: a model in a format that runs without Keras."""

from __future__ import annotations

from pathlib import Path

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.options import unused_seed_option
from keras_cmm_cli.outputs import check_new_file
from keras_cmm_cli.saved_model import load_classifier, model_argument
from keras_cmm_cli.terminal import Terminal, with_terminal

_SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "openvino": ".xml", "litert": ".tflite"}


@click.command(
    epilog="""\b
Examples:
  keras-cmm export my_model --format onnx --output my_model/classifier.onnx
  keras-cmm export my_model --format onnx --int8 --output small.onnx --images photos/
"""
)
@model_argument
@click.option(
    "--format",
    "style",
    type=click.Choice(tuple(_SUFFIXES)),
    default="onnx",
    show_default=True,
    help="ONNX; a program of torch.export; OpenVINO, which needs the extra openvino; or LiteRT, "
    "which needs litert-torch.",
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option(
    "--part",
    type=click.Choice(("model", "head")),
    default="model",
    show_default=True,
    help="The whole model from pixels, or the head alone from embeddings.",
)
@click.option(
    "--int8",
    is_flag=True,
    help="Weights of 8 bits, for ONNX: a quarter of the size, and answers that differ a little.",
)
@click.option(
    "--images",
    "paths",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Pictures or folders of them, to compare the file with Keras on, instead of four that are "
    "made up. May be given several times.",
)
@click.option("--overwrite", is_flag=True, help="Replace the ONNX file that --output names.")
@unused_seed_option
@with_terminal
def export(
    terminal: Terminal,
    model_dir: Path,
    style: str,
    output: Path,
    part: str,
    int8: bool,
    paths: tuple[Path, ...],
    overwrite: bool,
) -> None:
    """Write a model of `fit` as a file that runs without Keras.

    The file takes pixels and returns logits and probabilities. It is compared with Keras, and is
    not written if it does not agree, but for --int8, which only says how they differ.

    As classifier.onnx in the model's own folder, the file is what predict and evaluate run on.
    """
    if output.suffix != _SUFFIXES[style]:
        raise click.ClickException(
            f"{output}: the name of a file of the format {style} must end in {_SUFFIXES[style]}."
        )
    is_models_own = output.resolve() == (model_dir / "classifier.onnx").resolve()
    if is_models_own and (part == "head" or int8):
        raise click.ClickException(
            f"{output}: is the file that predict runs on, so it is the whole model in float32; "
            "give another name."
        )
    check_new_file(output, overwrite, b"keras-cmm")
    with terminal.status("loading Keras"):
        load_keras()
    from keras_cmm.export import export_classifier
    from keras_cmm_runtime.sources import find_images
    from keras_cmm_runtime.utils import add_digests

    images = find_images(paths) if paths else None
    with terminal.status("loading the model"):
        classifier = load_classifier(model_dir)
    with terminal.status("writing the file"):
        parity = export_classifier(
            classifier, output, style, "head" if part == "head" else "model", images, int8
        )
    if is_models_own:
        add_digests(model_dir, [path for path in _files_of(output) if path.exists()])
    megabytes = sum(path.stat().st_size for path in _files_of(output) if path.exists()) / 1e6
    terminal.result(f"{output}: {megabytes:,.1f} MB, {parity}")


def _files_of(output: Path) -> list[Path]:
    """Returns the file and those that may lie beside it with its weights."""
    return [output, output.with_name(f"{output.name}.data"), output.with_suffix(".bin")]
