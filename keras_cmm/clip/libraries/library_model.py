"""A model that another library builds and runs, in torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_cmm_runtime.errors import InputError

# What `pip` installs, by the name that is imported.
_DISTRIBUTIONS = {"open_clip": "open_clip_torch", "timm": "timm", "transformers": "transformers"}


@dataclass(frozen=True)
class LibraryModel:
    """A model that another library built, in torch.

    Args:
        module: the `torch.nn.Module` with all weights.
        embed_images: embeds normalised images, float `(batch, 3, height, width)`.
        embed_texts: embeds token ids, int `(batch, length)`, or `None` without a text tower.
        image_size: int, pixels.
        dim: int. Length of an embedding.
        context_length: int. Number of tokens of a text, or `None` without a text tower.
        vocabulary_size: int. Number of tokens that have an embedding, or `None`.
        logit_scale: the tensor with the logarithm of the scale of the cosines, or `None`.
    """

    module: Any
    embed_images: Callable[[Any], Any]
    image_size: int
    dim: int
    embed_texts: Callable[[Any], Any] | None = None
    context_length: int | None = None
    vocabulary_size: int | None = None
    logit_scale: Any = None


def import_library(name: str) -> Any:
    """Imports one of the libraries whose models run through torch.

    Args:
        name: `"open_clip"`, `"timm"` or `"transformers"`.

    Returns:
        The module.

    Raises:
        InputError: If it is not installed, or does not work beside the installed torch.
    """
    try:
        return importlib.import_module(name)
    # torchvision raises a RuntimeError beside a torch that it was not built for.
    except (ImportError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"this model is run by {_DISTRIBUTIONS[name]}, which cannot be imported ({reason}); "
            'install it by `pip install "keras-cmm[open-clip]"`, with a torchvision that belongs '
            "to the installed torch."
        ) from error


def square_size(size: Any) -> int:
    """Returns the side of a square image size: an int, or two equal ones.

    Raises:
        InputError: If it is something else.
    """
    sides = [size] if isinstance(size, int) else list(size or ())
    if not sides or len(set(sides)) != 1 or type(sides[0]) is not int or sides[0] < 1:
        raise InputError(f"the images of a model must be square. Received: an image size of {size}")
    return int(sides[0])
