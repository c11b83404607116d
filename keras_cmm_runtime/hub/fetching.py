"""Models on the Hugging Face hub."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.presets import near_presets
from keras_cmm_runtime.utils import DIGESTS_FILE, listed, read_digests

HUB_SCHEME = "hf://"
# What OnnxClassifier reads.
_ONNX_FILES = ("classifier.onnx", "classifier.onnx.data")


def is_hub_handle(source: str | os.PathLike[str]) -> bool:
    """Returns whether a source names a model on the hub: `hf://owner/name`.

    Example:
        >>> is_hub_handle("hf://ada/pets"), is_hub_handle("ada/pets")
        (True, False)
    """
    return os.fspath(source).startswith(HUB_SCHEME)


def fetch_model(source: str, whole: bool = True) -> Path:
    """Fetches a model of keras-cmm, unless its files were fetched before.

    Only the files are fetched that the model's `keras_cmm.json` lists. Nothing of them is run. The
    cache is that of `huggingface_hub`, so `HF_HOME`, `HF_HUB_OFFLINE` and `HF_ENDPOINT` work. Where
    there is no network, what was fetched before is used.

    Args:
        source: `hf://owner/name`, with `@revision` behind it for a branch, a tag or a commit.
        whole: bool. `False` leaves out what ONNX Runtime does not read, if the model has a
            `classifier.onnx`.

    Returns:
        The folder of the files.

    Raises:
        InputError: if there is no such model, it cannot be fetched, or it is none of keras-cmm.

    Example:
        >>> fetch_model("hf://ada/pets")  # doctest: +SKIP
        PosixPath('/home/ada/.cache/huggingface/hub/models--ada--pets/snapshots/81a1...')
    """
    folder = snapshot(source, [DIGESTS_FILE])
    files = read_digests(folder)
    if not files:
        raise InputError(
            f"{source}: is no model of keras-cmm, which has a {DIGESTS_FILE} with the list of its "
            "files; give another one."
        )
    wanted = list(files)
    if not whole and _ONNX_FILES[0] in files:
        wanted = [DIGESTS_FILE, *(name for name in _ONNX_FILES if name in files)]
    # The folder's name is the commit: the owner may change the model in the meantime.
    folder = snapshot(source, [glob.escape(name) for name in wanted], folder.name)
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{source}: is not whole ({listed(missing)} missing); fetch it again with a network, "
            "or ask its owner to push it again."
        )
    return folder


def snapshot(source: str, patterns: Sequence[str], revision: str | None = None) -> Path:
    """Fetches files of a model on the hub.

    Args:
        source: `owner/name` or `hf://owner/name`, with `@revision` behind it or not.
        patterns: which files, with `*` for any characters.
        revision: instead of that of `source`, if not `None`.

    Returns:
        The folder of the files in the cache, named after the commit.

    Raises:
        InputError: if there is no such model, or it cannot be fetched.
    """
    try:
        import huggingface_hub
        from huggingface_hub.errors import (
            GatedRepoError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise InputError(
            f"{source}: models of the Hugging Face hub need huggingface-hub; install it by "
            "`pip install 'keras-cmm-runtime[hub]'`."
        ) from error

    name, _, of_source = source.removeprefix(HUB_SCHEME).partition("@")
    revision = revision or of_source or None
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=list(patterns)
            )
        )
    except GatedRepoError:
        reason = "ask its owner for access, then log in with `hf auth login`"
    except RevisionNotFoundError:
        reason = f"it has no revision {revision!r}"
    except RepositoryNotFoundError:
        near = near_presets(name)
        hint = f"did you mean {' or '.join(near)}? Or, " if near else ""
        reason = (
            f"there is no such model on the Hugging Face hub; {hint}if it is private, log in with "
            "`hf auth login`"
        )
    # Network errors come from several libraries, and some are many lines long.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = f"the Hugging Face hub does not answer: {lines[0]}"
    raise InputError(
        f"{source!r} is not a folder, and cannot be fetched ({reason}); give a folder, a file or "
        "the name of a model that can be fetched."
    )
