"""`keras-cmm push`: a model to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.options import unused_seed_option
from keras_cmm_cli.saved_model import model_folder_argument
from keras_cmm_cli.terminal import Terminal, counted, with_terminal

if TYPE_CHECKING:
    from keras_cmm.hub import PushedModel


@click.command(
    epilog="""\b
Examples:
  keras-cmm push my_model ada/pets --dry-run
  keras-cmm evaluate my_model test_photos/ --format json > accuracy.json
  keras-cmm push my_model ada/pets --evaluation accuracy.json
  keras-cmm predict hf://ada/pets new.jpg
"""
)
@model_folder_argument
@click.argument("repo_id", metavar="OWNER/NAME")
@click.option(
    "--private/--public",
    default=None,
    help="Who may see a repository that is made.  [default: as its owner set]",
)
@click.option("--revision", metavar="BRANCH", help="Branch to push to.  [default: main]")
@click.option(
    "--evaluation",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `evaluate --format json` printed, for the accuracy in the model card.",
)
@click.option(
    "--training-images",
    is_flag=True,
    help="Push the names and embeddings of the training images too, from which explain shows the "
    "nearest ones. The images themselves are never pushed.",
)
@click.option("--message", metavar="TEXT", help="Message of the commit.")
@click.option("--dry-run", is_flag=True, help="Print what would be pushed, and push nothing.")
@unused_seed_option
@with_terminal
def push(
    terminal: Terminal,
    model_dir: Path,
    repo_id: str,
    private: bool | None,
    revision: str | None,
    evaluation: Path | None,
    training_images: bool,
    message: str | None,
    dry_run: bool,
) -> None:
    """Push a model of `fit` to the repository OWNER/NAME of the Hugging Face hub.

    Only files that `fit` wrote are pushed, as one commit, after they were checked. Log in with
    `hf auth login`, or set HF_TOKEN.
    """
    with terminal.status("loading Keras"):
        load_keras()
    from keras_cmm.hub import push_model
    from keras_cmm_runtime.utils import read_json_object

    measures = None if evaluation is None else read_json_object(evaluation)
    settings: dict[str, Any] = {
        "private": private,
        "revision": revision,
        "message": message,
        "evaluation": measures,
        "training_images": training_images,
    }
    planned = push_model(model_dir, repo_id, **settings, dry_run=True)
    say = terminal.result if dry_run else terminal.note
    for line in _listing(planned):
        say(line)
    if dry_run:
        return
    pushed = push_model(model_dir, repo_id, **settings)
    terminal.result(f"{pushed.url}: {_amount(pushed)}, commit {pushed.commit}")


def _listing(planned: PushedModel) -> list[str]:
    return [
        f"{planned.repo_id}: {_amount(planned)}",
        *(f"{_size(size):>9}  {name}" for name, size in planned.files.items()),
        *(f" left out  {name}" for name in planned.left_out),
    ]


def _amount(pushed: PushedModel) -> str:
    return f"{counted(len(pushed.files), 'file', 'files')}, {_size(sum(pushed.files.values()))}"


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
