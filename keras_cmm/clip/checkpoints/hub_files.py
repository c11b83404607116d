"""Models on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from keras_cmm.clip.checkpoints.hugging_face import (
    check_model_type,
    is_hugging_face,
    is_image_encoder,
    is_timm,
)
from keras_cmm.clip.checkpoints.tower_pairs import find_towers
from keras_cmm_runtime.hub import HUB_SCHEME, fetch_model, is_hub_handle, snapshot
from keras_cmm_runtime.utils import read_digests

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
# `*.model` are the SentencePiece models of tokenizers.
_SMALL_FILES = ("*.json", "*.model", "merges.txt", "*/merges.txt")
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
    if is_hub_handle(source):
        return True
    return _ID.fullmatch(source) is not None and not Path(source).exists()


def fetch_from_hub(source: str) -> str:
    """Fetches the files of a model on the hub, unless they were fetched before.

    Of a model or preset of keras-cmm, all files are fetched that its `keras_cmm.json` lists.

    Args:
        source: `hf://owner/name` or `owner/name`, with `@revision` behind it or not.

    Returns:
        The folder of the files. Of another preset of keras-hub its handle: keras-hub fetches it.

    Raises:
        InputError: If there is no such model, or it cannot be fetched.
    """
    folder = snapshot(source, _SMALL_FILES)
    if read_digests(folder):
        return str(fetch_model(source))
    formats: tuple[tuple[str, ...], ...]
    if is_hugging_face(folder):
        formats = _TRANSFORMERS_WEIGHTS
    elif (folder / "open_clip_config.json").is_file():
        formats = _OPEN_CLIP_WEIGHTS
    elif is_timm(folder) or is_image_encoder(folder):
        formats = _TRANSFORMERS_WEIGHTS
    else:
        check_model_type(folder)
        return f"{HUB_SCHEME}{source.removeprefix(HUB_SCHEME)}"
    towers = None if (folder / "config.json").is_file() else find_towers(folder)
    for name in [tower.name for tower in towers or ()] or [""]:
        for patterns in formats:
            inside = tuple(f"{name}/{pattern}".lstrip("/") for pattern in patterns)
            # `folder.name` is the commit: its owner may change the model in the meantime.
            folder = snapshot(source, inside, folder.name)
            if any(any(folder.glob(pattern)) for pattern in inside):
                break
    return str(folder)
