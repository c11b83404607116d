"""The file in a model folder that records how the model was trained."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_cmm_runtime.sources import ImageSource

RUN_FILE = "keras_cmm.json"
RUN_FORMAT = "keras-cmm-run/1"
AS_THE_PRESET = "as the preset"


def read_run(folder: Path) -> dict[str, Any] | None:
    """Returns the record that `keras-cmm fit` wrote about a model, or `None` if there is none."""
    run = _read(folder)
    if run.get("format") != RUN_FORMAT:
        return None
    kinds = {"images": list, "hyperparameters": dict}
    if not all(isinstance(run.get(key), kind) for key, kind in kinds.items()):
        return None
    hashed = all(isinstance(image, dict) and "sha256" in image for image in run["images"])
    return run if hashed else None


def has_record(folder: Path) -> bool:
    """Returns whether a command, or `save_to_preset`, wrote a record into a folder."""
    content = _read(folder)
    return "digests" in content or read_run(folder) is not None


def _read(folder: Path) -> dict[str, Any]:
    """Returns the content of the run file, empty if there is none or it is damaged."""
    from keras_cmm_runtime.utils import refuse_special_file

    refuse_special_file(folder / RUN_FILE)
    try:
        content = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def command_line() -> str:
    """Returns the command line, quoted for a shell. Names that are not UTF-8 are escaped."""
    return printable(shlex.join(["keras-cmm", *sys.argv[1:]]))


def printable(text: str) -> str:
    """Returns a text that can be written as UTF-8, which file names need not be."""
    return text.encode(errors="backslashreplace").decode()


def image_records(images: ImageSource) -> list[dict[str, str]]:
    """Returns the name, label and SHA-256 of each image."""
    return [
        {"name": name, "label": images.class_names[label], "sha256": file_hash(image)}
        for name, image, label in images
    ]


def file_hash(image: Any) -> str:
    """Returns the SHA-256 in hexadecimal of an image's file, or of the pixels if it has none."""
    from keras_cmm_runtime.images import file_bytes, read_image

    content = file_bytes(image)
    if content is None:
        picture = read_image(image)
        content = b"%d %d\0" % picture.size + picture.tobytes()
    return hashlib.sha256(content).hexdigest()
