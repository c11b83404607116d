"""`keras-cmm store`: the embeddings that are kept."""

from __future__ import annotations

from pathlib import Path

import click

from keras_cmm_cli.options import unused_seed_option
from keras_cmm_cli.store import default_folder, store_option
from keras_cmm_cli.terminal import Terminal, counted, with_terminal


@click.command(
    epilog="""\b
Examples:
  keras-cmm store
  keras-cmm store --clear
"""
)
@store_option
@click.option("--clear", is_flag=True, help="Remove all embeddings from it.")
@unused_seed_option
@with_terminal
def store(terminal: Terminal, store: Path | None, clear: bool) -> None:
    """Show where embeddings of images are kept, and how many; or remove them.

    fit, embed, evaluate, predict and benchmark keep the embeddings they compute, so that a model
    embeds no image twice. The key of an embedding is the content of image and model, not a name.
    The images themselves are not kept.
    """
    from keras_cmm_runtime.embeddings import EmbeddingStore

    opened = EmbeddingStore(store or default_folder())
    contents = opened.contents()
    if clear:
        opened.clear()
    rows = sum(content["rows"] for content in contents)
    megabytes = sum(content["bytes"] for content in contents) / 1e6
    terminal.result(
        f"{opened.folder}: {'removed ' if clear else ''}{counted(rows, 'embedding', 'embeddings')} "
        f"by {counted(len(contents), 'model', 'models')}, "
        f"{megabytes:,.1f} MB"
    )
