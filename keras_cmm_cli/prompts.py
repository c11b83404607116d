"""The options for the texts of the classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

_DEFAULT_TEMPLATE = "a photo of a {}."


def prompt_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--template` and `--descriptions`, the arguments of `read_prompts`."""
    command = click.option(
        "--descriptions",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="JSON file {class: [sentences]}, used instead of a template, or with those given.",
    )(command)
    return click.option(
        "--template",
        "templates",
        multiple=True,
        help="Prompt with {} for the class name, or a built-in name such as imagenet_7; several "
        f"are averaged.  [default: {_DEFAULT_TEMPLATE}]",
    )(command)


def read_prompts(
    templates: Sequence[str], descriptions: Path | None, class_names: Sequence[str]
) -> dict[str, Any]:
    """Returns `template` and `descriptions` as `keras_cmm.clip.build_prompts` takes them."""
    from keras_cmm.clip.inputs import read_descriptions, resolve_templates

    if not templates and descriptions is None:
        templates = (_DEFAULT_TEMPLATE,)
    sentences = None if descriptions is None else read_descriptions(descriptions, class_names)
    return {
        "template": list(resolve_templates(list(templates))) if templates else None,
        "descriptions": sentences and {name: list(texts) for name, texts in sentences.items()},
    }
