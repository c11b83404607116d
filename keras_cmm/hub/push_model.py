"""Pushing a model folder to the Hugging Face hub."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from keras_cmm.explain import SUPPORT_FILE
from keras_cmm.hub.model_card import model_card
from keras_cmm.hub.pushed_model import PushedModel
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.hub import HUB_SCHEME
from keras_cmm_runtime.onnx_classifier import ONNX_FILE
from keras_cmm_runtime.utils import (
    DIGESTS_FILE,
    check_digests,
    file_digest,
    foreign_files,
    read_digests,
    write_digests,
)
from keras_cmm_runtime.utils.files import read_json_object

_CARD_FILE = "README.md"
# A push may leave these out, so those of an earlier one are removed.
_STALE = ("*.weights.h5", "*.weights.json", f"{ONNX_FILE}*", SUPPORT_FILE)
# Files of weights, of which `_check_folder` has seen that they are as they were written.
_WEIGHTS = (".weights.h5", ONNX_FILE, f"{ONNX_FILE}.data")
# Files that the hub itself makes.
_OF_THE_HUB = (".gitattributes", _CARD_FILE)


def push_model(
    folder: str | os.PathLike[str],
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    message: str | None = None,
    evaluation: Mapping[str, Any] | None = None,
    training_images: bool = False,
    dry_run: bool = False,
) -> PushedModel:
    """Pushes a model folder to the Hugging Face hub, as one commit.

    Only files are pushed that the folder's `keras_cmm.json` lists, and none of them may have
    changed: no image of a user's, and no model that is damaged. By default the names and the
    embeddings of the training images stay behind. Their SHA-256 are pushed, by which `evaluate`
    tells which images it was trained on.

    A push that is interrupted leaves the repository as it was.

    Args:
        folder: a folder of `keras-cmm fit` or `save_to_preset`.
        repo_id: the repository, `owner/name`. It is made if it does not exist.
        private: bool. Whether a new repository is private. `None` for the owner's default.
        revision: a branch, which is made if it does not exist. `None` for `main`.
        token: a token of the hub that may write. `None` for that of `hf auth login`, or of the
            environment variable `HF_TOKEN`.
        message: of the commit.
        evaluation: what `keras-cmm evaluate --format json` printed, for the model card. It replaces
            the card of the folder, which must be as it was written.
        training_images: bool. Whether the names and embeddings of the training images are pushed.
        dry_run: bool. Only returns what would be pushed. Asks nothing of the hub.

    Returns:
        What was pushed.

    Raises:
        InputError: if the folder holds no model that is whole, the hub cannot be reached or refuses
            the push, or the repository holds something else.

    Example:
        >>> pushed = push_model("my_model", "ada/pets")  # doctest: +SKIP
        >>> pushed.url  # doctest: +SKIP
        'https://huggingface.co/ada/pets'
    """
    _check_repo_id(repo_id)
    folder = Path(folder)
    _check_folder(folder)
    with _staged(folder, repo_id, evaluation, training_images) as stage:
        paths = {
            path.relative_to(stage).as_posix(): path for path in stage.rglob("*") if path.is_file()
        }
        files = {name: paths[name].stat().st_size for name in sorted(paths)}
        recorded = read_digests(folder) or {}
        left_out = sorted({*recorded, *foreign_files(folder)} - set(files))
        pushed = PushedModel(repo_id, files, tuple(left_out))
        if dry_run:
            return pushed
        url, commit = _asking_the_hub(
            repo_id, lambda: _push(paths, repo_id, private, revision, token, message)
        )
        return pushed._replace(url=url, commit=commit)


def _check_repo_id(repo_id: str) -> None:
    from huggingface_hub import utils
    from huggingface_hub.errors import HFValidationError

    try:
        utils.validate_repo_id(repo_id)  # type: ignore[attr-defined]
        is_valid = repo_id.count("/") == 1
    except HFValidationError:
        is_valid = False
    if not is_valid:
        raise InputError(f"`repo_id` must be of the form owner/name. Received: {repo_id!r}")


def _check_folder(folder: Path) -> None:
    if not (folder / "task.json").is_file():
        raise InputError(
            f"{folder}: is no saved classifier; give a folder of `keras-cmm fit` or of "
            "`save_to_preset`."
        )
    digests = read_digests(folder)
    if digests is None:
        raise InputError(
            f"{folder}: is of an earlier version of keras-cmm, which did not record what it wrote; "
            "load it by `CMMImageClassifier.from_preset` and save it by `save_to_preset`."
        )
    check_digests(folder)
    if ONNX_FILE in digests and file_digest(folder / ONNX_FILE) != digests[ONNX_FILE]:
        raise InputError(
            f"{folder / ONNX_FILE}: has changed since it was written; export the classifier again."
        )


@contextmanager
def _staged(
    folder: Path, repo_id: str, evaluation: Mapping[str, Any] | None, training_images: bool
) -> Iterator[Path]:
    """Yields a temporary folder of what is to be pushed: links, the record and the model card."""
    record = read_json_object(folder / DIGESTS_FILE)
    digests = record.pop("digests")
    names = [name for name in digests if (folder / name).is_file() and name != DIGESTS_FILE]
    if not training_images:
        names = [name for name in names if name != SUPPORT_FILE]
        record |= {"images": _nameless(record["images"])} if "images" in record else {}
    is_own_card = _CARD_FILE not in names or (
        file_digest(folder / _CARD_FILE) == digests[_CARD_FILE]
    )
    if evaluation is not None:
        _check_evaluation(evaluation)
        if not is_own_card:
            raise InputError(
                f"{folder / _CARD_FILE}: was edited, so the evaluation cannot be written into it; "
                "write it there yourself and leave out `evaluation`."
            )
        record["evaluation"] = dict(evaluation)
    with tempfile.TemporaryDirectory() as temporary:
        stage = Path(temporary)
        for name in names:
            if name != _CARD_FILE or not is_own_card:
                (stage / name).parent.mkdir(parents=True, exist_ok=True)
                _link((folder / name).resolve(), stage / name)
        if is_own_card:
            about = record if "class_names" in record else {**_saved_settings(folder), **record}
            card = model_card(about, f"{HUB_SCHEME}{repo_id}", ONNX_FILE in names)
            (stage / _CARD_FILE).write_text(card, encoding="utf-8")
        # Other files may have been edited, as the model card.
        known = {name: each for name, each in digests.items() if name.endswith(_WEIGHTS)}
        write_digests(stage, record, known)
        yield stage


def _nameless(images: Any) -> Any:
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        return images
    return [{**image, "name": f"image {number}"} for number, image in enumerate(images)]


def _check_evaluation(evaluation: Mapping[str, Any]) -> None:
    def is_percentage(value: Any) -> bool:
        return type(value) in (int, float) and 0 <= value <= 100

    def is_count(value: Any) -> bool:
        return type(value) is int and value >= 0

    def is_interval(value: Any) -> bool:
        return (
            isinstance(value, list | tuple) and len(value) == 2 and all(map(is_percentage, value))
        )

    checks: dict[str, Callable[[Any], bool]] = {
        "images": is_count,
        "classes": is_count,
        "top1": is_percentage,
        "top1_interval": is_interval,
        "macro_f1": is_percentage,
        "top5": lambda value: value is None or is_percentage(value),
        "trained_on": lambda value: value is None or is_count(value),
    }
    for name, check in checks.items():
        if not check(evaluation.get(name)):
            raise InputError(
                "`evaluation` must be what `keras-cmm evaluate --format json` prints. "
                f"Received: {name}={evaluation.get(name)!r}"
            )


def _saved_settings(folder: Path) -> dict[str, Any]:
    """Returns what the file of a classifier says, where no command recorded a run."""
    config = read_json_object(folder / "task.json").get("config", {})
    template = config.get("template")
    return {
        "class_names": config.get("class_names", []),
        "preset": config.get("backbone_preset"),
        "templates": [template] if isinstance(template, str) else template,
        "descriptions": config.get("descriptions"),
    }


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:  # Windows, without the right to make links
        shutil.copyfile(source, target)


def _push(
    paths: Mapping[str, Path],
    repo_id: str,
    private: bool | None,
    revision: str | None,
    token: str | None,
    message: str | None,
) -> tuple[str, str]:
    """Returns the address of the model and the commit."""
    import huggingface_hub as hub

    api = hub.HfApi(token=token, library_name="keras-cmm")
    if token is None and hub.get_token() is None:
        raise InputError(
            "the Hugging Face hub needs a token to push; log in with `hf auth login`, or set "
            "HF_TOKEN."
        )
    url = api.create_repo(repo_id, private=private, exist_ok=True)
    if private and not api.model_info(repo_id).private:
        raise InputError(
            f"{repo_id}: exists and is public; make it private on the hub, or give the name of a "
            "new repository."
        )
    if revision is not None:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    present = api.list_repo_files(repo_id, revision=revision)
    if DIGESTS_FILE not in present and set(present) - set(_OF_THE_HUB):
        first = min(set(present) - set(_OF_THE_HUB))
        raise InputError(
            f"{repo_id}: holds something else ({first!r}), which is no model of keras-cmm; give "
            "the name of a new repository."
        )
    stale = [
        name
        for name in present
        if name not in paths and any(fnmatch(name, pattern) for pattern in _STALE)
    ]
    commit = api.create_commit(
        repo_id,
        [
            *(hub.CommitOperationAdd(name, path) for name, path in paths.items()),
            *(hub.CommitOperationDelete(name) for name in stale),
        ],
        commit_message=message or "Push a classifier of keras-cmm",
        revision=revision,
    )
    return str(url), commit.oid


def _asking_the_hub(repo_id: str, ask: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """Calls a function that pushes; raises an `InputError` for what the hub says against it."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return ask()
    except InputError:
        raise
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = {
            401: "the token is not valid: log in with `hf auth login`",
            403: "the token may not write there: check the owner, and that the token has the "
            "right to write",
            404: "there is no such repository or owner that this token may write to",
        }.get(status or 0) or _first_line(error)
    # Network errors come from several libraries, and some are many lines long.
    except Exception as error:
        reason = f"the Hugging Face hub does not answer: {_first_line(error.__cause__ or error)}"
    raise InputError(f"{repo_id}: cannot be pushed to ({reason}); no file was pushed.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
