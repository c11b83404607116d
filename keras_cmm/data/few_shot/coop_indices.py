"""Few-shot draws of other projects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from keras_cmm.data.few_shot.few_shot_sample import (
    FewShotSample,
    checked_rows,
    fingerprint,
    short_classes,
)
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import read_json_object


def read_few_shot_indices(
    path: str | Path,
    part: Literal["train", "val"] = "train",
    *,
    shots: int,
    seed: int,
    labels: npt.ArrayLike,
    keys: Sequence[str],
) -> FewShotSample:
    """Reads a file `shot_K-seed_S.json` of the project cross_modal_adaptation.

    Images are found by the end of their paths, since the start is a folder of the other project.
    The `indices` of the file are not used: they are wrong if an image was added or lost.

    Args:
        path: The file, JSON `{"train"|"val": {"data": [{"impath", "label", "classname"}, ...]}}`.
        part: The part of the file to read.
        shots: Images a class of the file, from its name.
        seed: The seed of the file, from its name.
        labels: `(rows,)` class ids of all images of the data set.
        keys: Path of each of these images, relative to their folder, such as `ImageList.keys()`.

    Returns:
        The rows of the file's images, by class.

    Raises:
        InputError: If the file cannot be read or has another form, or an image is not in the data
            set or has another class there.

    Example:
        >>> import json, tempfile
        >>> images = [{"impath": "./data/pets/images/b.jpg", "label": 1, "classname": "dog"}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "shot_1-seed_1.json")
        ...     _ = path.write_text(json.dumps({"train": {"data": images}}))
        ...     read_few_shot_indices(
        ...         path, shots=1, seed=1, labels=[0, 1], keys=["a.jpg", "b.jpg"]
        ...     ).indices
        array([1])

    References:
        https://github.com/linzhiqiu/cross_modal_adaptation, few_shot_split.py and indices/.
    """
    rows, identities = checked_rows(labels, keys)
    row_of = {key: row for row, key in enumerate(keys)}
    chosen = []
    for impath, label in _read_images(Path(path), part):
        row = _find(impath, row_of)
        if row is None:
            raise InputError(
                f"{path}: {impath!r} is not among the {len(rows):,} images of the data set (such "
                f"as {keys[0]!r}); give the indices of this data set, in CoOp's folders of images."
            )
        if rows[row] != label:
            raise InputError(
                f"{path}: {impath!r} has class {label}, but {rows[row]} in the data set; give "
                "indices that were drawn from the same classes."
            )
        chosen.append(row)
    if len(set(chosen)) != len(chosen):
        raise InputError(f"{path}: lists an image twice; download the file again.")
    indices = np.array(chosen, dtype=np.int64)
    indices = indices[np.argsort(rows[indices], kind="stable")]
    return FewShotSample(
        indices=indices,
        shots=shots,
        seed=seed,
        short=short_classes(rows, indices, shots),
        num_rows=len(rows),
        fingerprint=fingerprint(rows, identities),
    )


def _read_images(path: Path, part: str) -> list[tuple[str, int]]:
    """Returns the path and class of each image of a part, at least one."""
    content = read_json_object(path, "download the file again")
    try:
        images = [(image["impath"], image["label"]) for image in content[part]["data"]]
    except (KeyError, TypeError):
        images = []
    if not images or not all(_is_image(*image) for image in images):
        raise InputError(
            f"{path}: has no list of images under {part!r}, each with impath, label and classname; "
            "expected a file shot_K-seed_S.json of cross_modal_adaptation."
        )
    return images


def _is_image(impath: Any, label: Any) -> bool:
    return type(impath) is str and impath != "" and type(label) is int and label >= 0


def _find(impath: str, row_of: dict[str, int]) -> int | None:
    """Returns the row whose key is the longest end of the path, or `None`."""
    parts = impath.replace("\\", "/").split("/")
    for start in range(len(parts)):
        row = row_of.get("/".join(parts[start:]))
        if row is not None:
            return row
    return None
