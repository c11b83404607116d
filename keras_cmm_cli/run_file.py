"""The file in a model folder that records how the model was trained."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_cmm.data import ImageSource

RUN_FILE = "keras_cmm.json"
RUN_FORMAT = "keras-cmm-run/1"


def read_run(folder: Path) -> dict[str, Any] | None:
    """Returns the record that `keras-cmm fit` wrote about a model, or `None` if there is none."""
    from keras_cmm.utils import refuse_special_file

    refuse_special_file(folder / RUN_FILE)
    try:
        run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(run, dict) or run.get("format") != RUN_FORMAT:
        return None
    kinds = {"files": list, "images": list, "hyperparameters": dict}
    if not all(isinstance(run.get(key), kind) for key, kind in kinds.items()):
        return None
    hashed = all(isinstance(image, dict) and "sha256" in image for image in run["images"])
    return run if hashed else None


def command_line() -> str:
    """Returns the command line, quoted for a shell."""
    return shlex.join(["keras-cmm", *sys.argv[1:]])


def image_records(images: ImageSource) -> list[dict[str, str]]:
    """Returns the name, label and SHA-256 of each image."""
    return [
        {"name": name, "label": images.class_names[label], "sha256": file_hash(image)}
        for name, image, label in images
    ]


def file_hash(image: Any) -> str:
    """Returns the SHA-256 of an image's file in hexadecimal."""
    from keras_cmm.clip.inputs import file_bytes

    return hashlib.sha256(file_bytes(image) or b"").hexdigest()
