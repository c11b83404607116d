"""The class names of a saved classifier, read without loading it."""

from __future__ import annotations

import json
from pathlib import Path

from keras_cmm_runtime.errors import InputError


def saved_class_names(folder: str) -> tuple[str, ...] | None:
    """Returns the class names of a saved classifier.

    Args:
        folder: str. A folder, or a handle of a preset, as `keras_cmm.clip.preset_path` returns it.

    Returns:
        The class names, or `None` if `folder` holds no classifier.

    Raises:
        InputError: if the classifier's `task.json` is damaged.

    Example:
        >>> from keras_cmm.clip import preset_path
        >>> saved_class_names(preset_path("emoji_clip_tiny")) is None
        True
    """
    path = Path(folder, "task.json")
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        task = json.loads(text)
        return tuple(task["config"]["class_names"]) if "CMMImageClassifier" in text else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: is damaged ({error}); copy the folder anew, or fit the classifier again."
        ) from error
