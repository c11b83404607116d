"""Models on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from keras_cmm.clip.checkpoints.hugging_face import check_model_type, model_type
from keras_cmm_runtime.errors import InputError

_SCHEME = "hf://"
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SMALL_FILES = ("*.json", "merges.txt")
# A repository may have its weights in several formats. The first one found is fetched.
_TRANSFORMERS_WEIGHTS = (
    ("model.safetensors", "model-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model-*.bin"),
)
_OPEN_CLIP_WEIGHTS = (("open_clip_model.safetensors",), ("open_clip_pytorch_model.bin",))


def is_hub_id(source: str) -> bool:
    """Returns whether a source names a model on the hub: `hf://owner/name` or `owner/name`.

    Example:
        >>> is_hub_id("openai/clip-vit-base-patch32"), is_hub_id("./clip-vit-base-patch32")
        (True, False)
    """
    if source.startswith(_SCHEME):
        return True
    return _ID.fullmatch(source) is not None and not Path(source).exists()


def fetch_from_hub(source: str) -> str:
    """Fetches the files of a model on the hub, unless they were fetched before.

    Args:
        source: `hf://owner/name` or `owner/name`.

    Returns:
        The folder of the files. For a keras-hub preset, its handle: keras-hub fetches the files.

    Raises:
        InputError: If there is no such model, or it cannot be fetched.
    """
    name = source.removeprefix(_SCHEME)
    folder = _download(source, name, _SMALL_FILES)
    formats: tuple[tuple[str, ...], ...]
    if model_type(folder) == "clip":
        formats = _TRANSFORMERS_WEIGHTS
    elif (folder / "open_clip_config.json").is_file():
        formats = _OPEN_CLIP_WEIGHTS
    else:
        check_model_type(folder)
        return f"{_SCHEME}{name}"
    for patterns in formats:
        # `folder.name` is the commit: its owner may change the model in the meantime.
        folder = _download(source, name, patterns, revision=folder.name)
        if any(any(folder.glob(pattern)) for pattern in patterns):
            break
    return str(folder)


def _download(source: str, name: str, patterns: Sequence[str], revision: str | None = None) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=list(patterns)
            )
        )
    except GatedRepoError:
        reason = "ask its owner for access, then log in with `hf auth login`"
    except RepositoryNotFoundError:
        reason = "there is no such model on the Hugging Face hub"
    # Network errors come from several libraries, and some are many lines long.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = f"the Hugging Face hub does not answer: {lines[0]}"
    raise InputError(
        f"{source!r} is not a folder, and cannot be fetched ({reason}); give a folder, a file or "
        "the name of a model that can be fetched."
    )
