"""`keras-cmm convert`: from a CLIP checkpoint to a keras-hub preset."""

from __future__ import annotations

from pathlib import Path

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.options import DTYPES, unused_seed_option
from keras_cmm_cli.outputs import check_new_folder, new_folder
from keras_cmm_cli.terminal import Terminal, with_terminal


@click.command(
    epilog="""\b
Example:
  keras-cmm convert openai/clip-vit-base-patch32 clip_preset
"""
)
@click.argument("source")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT_PRESET_DIR")
@click.option("--dtype", type=click.Choice(DTYPES), help="Precision of the weights.")
@click.option(
    "--open-clip-model",
    metavar="NAME",
    help="OpenCLIP's name of the model, such as ViT-B-32, for a SOURCE that is a file without its "
    "open_clip_config.json.",
)
@click.option(
    "--activation",
    type=click.Choice(("gelu", "quick_gelu")),
    help="The activation of such a file, if its model has OpenAI's heads; instead of "
    "--open-clip-model.",
)
@unused_seed_option
@with_terminal
def convert(
    terminal: Terminal,
    source: str,
    output: Path,
    dtype: str | None,
    open_clip_model: str | None,
    activation: str | None,
) -> None:
    """Write the CLIP model SOURCE as a keras-hub preset.

    SOURCE is a folder that transformers or OpenCLIP saved, the name of such a model on the Hugging
    Face hub (openai/clip-vit-base-patch32), a file with the state dict of one of OpenAI's models,
    or a preset. --preset of the other commands takes OUTPUT_PRESET_DIR, and SOURCE as well.

    A file of another model, such as RemoteCLIP, does not say its activation and its heads. Give
    --open-clip-model, or put its open_clip_config.json beside it.
    """
    check_new_folder(output, overwrite=False)
    with terminal.status("loading Keras"):
        load_keras()
    from keras_cmm.clip import load, save_preset

    with terminal.status("loading CLIP"):
        model = load(source, dtype=dtype, open_clip_model=open_clip_model, activation=activation)
    with terminal.status("writing the preset"), new_folder(output, overwrite=False) as folder:
        save_preset(model, folder)
    backbone = model.backbone
    side = model.image_converter.image_size[0]
    terminal.result(
        f"{output}: {type(backbone).__name__}, {backbone.count_params():,} parameters, images of "
        f"{side} x {side} pixels, embeddings of {backbone.projection_dim}"
    )
