"""Building the models of other libraries, and filling in their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_cmm.clip.libraries.library_model import LibraryModel
from keras_cmm.clip.libraries.open_clip_model import build_open_clip
from keras_cmm.clip.libraries.timm_model import build_timm
from keras_cmm.clip.libraries.transformers_model import build_transformers
from keras_cmm_runtime.errors import InputError

BUILDERS: dict[str, Callable[[Mapping[str, Any]], LibraryModel]] = {
    "open_clip": build_open_clip,
    "timm": build_timm,
    "transformers": build_transformers,
}

# Settings that say how many layers there are. Each layer has tensors of its own.
_DEPTHS = ("depth", "layers")
# No setting is larger: the widest layers, the largest vocabularies.
_LARGEST = 10_000_000


def build_library_model(library: str, architecture: Mapping[str, Any]) -> LibraryModel:
    """Builds a model of another library with random weights; nothing is fetched.

    Args:
        library: a key of `BUILDERS`.
        architecture: what the builder of the library takes.

    Returns:
        The model, in inference mode and frozen.

    Raises:
        InputError: If the library is not known or not installed, or cannot build the model.
    """
    if library not in BUILDERS:
        raise InputError(
            f"`library` must be one of {', '.join(BUILDERS)}. Received: library={library!r}"
        )
    for key, size in _sizes(architecture):
        if size > (1000 if _is_depth(key) else _LARGEST):
            raise InputError(f"the config of the model has the size {key}={size}; it is damaged.")
    try:
        model = BUILDERS[library](architecture)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"the architecture of the {library} model is damaged ({error!r})."
        ) from error
    model.module.eval().requires_grad_(False)
    return model


def build_without_memory(library: str, architecture: Mapping[str, Any]) -> LibraryModel:
    """Builds a model whose tensors have shapes but no numbers, on torch's meta device.

    Raises:
        InputError: As `build_library_model`.
    """
    import torch

    with torch.device("meta"):
        return build_library_model(library, architecture)


def check_tensors(module: Any, tensors: Mapping[str, Any], source: Path) -> None:
    """Checks the tensors of a checkpoint against a module, before memory is taken for it.

    Args:
        module: the module, as `build_without_memory` builds it.
        tensors: the tensors under the names of the module.
        source: the file or folder of the checkpoint, for messages.

    Raises:
        InputError: If one is missing, has another shape or has no place in the module.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for name, shape in expected.items():
        if name not in tensors:
            raise InputError(
                f"{source}: has no tensor {name!r}; its weights and its config do not belong "
                "together."
            )
        if tuple(tensors[name].shape) != shape:
            raise InputError(
                f"{source}: its tensor {name!r} has the shape {tuple(tensors[name].shape)}, and "
                f"its config asks for {shape}; its weights and its config do not belong together."
            )
    if rest := sorted(set(tensors).difference(expected)):
        raise InputError(
            f"{source}: has {len(rest)} tensors that its config does not have, such as "
            f"{rest[0]!r}; its weights and its config do not belong together."
        )


def refuse_impossible_sizes(architecture: Any, tensors: Mapping[str, Any], source: Path) -> None:
    """Raises an error for a config that asks for more than a checkpoint holds.

    Raises:
        InputError: If it has more layers than there are tensors, or a size larger than all tensors.
    """
    most = sum(math.prod(tensor.shape) for tensor in tensors.values())
    for key, size in _sizes(architecture):
        if size > (len(tensors) if _is_depth(key) else max(most, _LARGEST)):
            raise InputError(
                f"{source}: its config says {key}={size}, and its {len(tensors)} tensors hold "
                f"{most:,} numbers; they do not belong together."
            )


def _is_depth(key: str) -> bool:
    return any(part in key for part in _DEPTHS)


def _sizes(settings: Any, key: str = "") -> Iterator[tuple[str, int]]:
    """Yields the ints of nested settings, with the key of each."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from _sizes(value, str(name))
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _sizes(value, key)
    elif type(settings) is int:
        yield key, settings
