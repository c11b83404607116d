"""`keras-cmm export`: a model in a format that runs without Keras."""

from __future__ import annotations

from pathlib import Path

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.exported_files import SUFFIXES, check_new_export, files_of
from keras_cmm_cli.options import is_given, unused_seed_option
from keras_cmm_cli.saved_model import fetched, load_classifier, model_argument
from keras_cmm_cli.terminal import Terminal, with_terminal


@click.command(
    epilog="""\b
Examples:
  keras-cmm export my_model --format onnx --output my_model/classifier.onnx
  keras-cmm export my_model --format onnx --int8 --output small.onnx --images photos/
  keras-cmm export my_model --format safetensors --output my_head.safetensors
"""
)
@model_argument
@click.option(
    "--format",
    "style",
    type=click.Choice(tuple(SUFFIXES)),
    default="onnx",
    show_default=True,
    help="ONNX; a program of torch.export; OpenVINO, which needs the extra openvino; LiteRT, which "
    "needs litert-torch; or safetensors, which holds the head alone for `load_head` of Python.",
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
@click.option("--overwrite", is_flag=True, help="Replace the file of export that --output names.")
@unused_seed_option
@with_terminal
def export(
    terminal: Terminal,
    model_dir: Path | str,
    style: str,
    output: Path,
    part: str,
    int8: bool,
    paths: tuple[Path, ...],
    overwrite: bool,
) -> None:
    """Write a model of `fit` as a file that runs without Keras.

    The file takes pixels and returns logits and probabilities. It is compared with Keras, and is
    not written if it does not agree, but for --int8, which only says how they differ. A file of
    safetensors is for Keras, so it is not compared.

    As classifier.onnx in the model's own folder, the file is what predict and evaluate run on.
    """
    if style == "safetensors":
        for option in ("part", "int8", "paths"):
            if is_given(option):
                name = "images" if option == "paths" else option
                raise click.UsageError(f"--format safetensors takes no --{name}; leave it out.")
    model_dir = fetched(model_dir)
    is_models_own = output.resolve() == (model_dir / "classifier.onnx").resolve()
    if is_models_own and (part == "head" or int8):
        raise click.ClickException(
            f"{output}: is the file that predict runs on, so it is the whole model in float32; "
            "give another name."
        )
    check_new_export(output, style, overwrite)
    with terminal.status("loading Keras"):
        load_keras()
    from keras_cmm.export import export_classifier
    from keras_cmm_runtime.sources import find_images
    from keras_cmm_runtime.utils import add_digests

    images = find_images(paths) if paths else None
    with terminal.status("loading the model"):
        classifier = load_classifier(model_dir)
    if style == "safetensors":
        classifier.save_head(output)
        terminal.result(f"{output}: {_megabytes([output])} MB, the head alone")
        return
    with terminal.status("writing the file"):
        parity = export_classifier(
            classifier, output, style, "head" if part == "head" else "model", images, int8
        )
    written = [path for path in files_of(output, style) if path.exists()]
    if is_models_own:
        add_digests(model_dir, written)
    terminal.result(f"{output}: {_megabytes(written)} MB, {parity}")


def _megabytes(files: list[Path]) -> str:
    return f"{sum(path.stat().st_size for path in files) / 1e6:,.1f}"
