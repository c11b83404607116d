"""The rows of a few-shot draw."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import read_json_object, replacing

FORMAT = "keras-cmm-indices/1"


@dataclass(frozen=True, eq=False)
class FewShotSample:
    """Rows that `sample_few_shot` drew. A saved sample repeats a run exactly.

    Args:
        indices: `(rows,)` int64 row numbers, sorted by class, then by rank within the class.
        shots: Rows asked of each class, or "all".
        seed: Seed of the draw.
        short: `{class id: rows}` for the classes that had fewer rows than `shots`.
        num_rows: Number of rows of the data set.
        fingerprint: SHA-256 of the labels and keys of the data set, in hexadecimal.

    Example:
        >>> import tempfile
        >>> from keras_cmm.data import sample_few_shot
        >>> data = {"labels": [0, 0, 1, 1], "keys": ["a.png", "b.png", "c.png", "d.png"]}
        >>> sample = sample_few_shot(shots=1, seed=1, **data)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sample.save(f"{folder}/indices.json")
        ...     again = FewShotSample.load(f"{folder}/indices.json", **data)
        >>> again.indices.tolist() == sample.indices.tolist()
        True
    """

    indices: npt.NDArray[np.int64]
    shots: int | Literal["all"]
    seed: int
    short: dict[int, int]
    num_rows: int
    fingerprint: str

    def save(self, path: str | Path) -> None:
        """Writes the sample as a JSON file, whole or not at all.

        Args:
            path: The file to write or replace; its folder must exist.

        Raises:
            InputError: If the file cannot be written.
        """
        content = {
            "format": FORMAT,
            "shots": self.shots,
            "seed": self.seed,
            "num_rows": self.num_rows,
            "fingerprint": self.fingerprint,
            "indices": self.indices.tolist(),
        }
        with replacing(Path(path)) as file:
            file.write(json.dumps(content).encode() + b"\n")

    @classmethod
    def load(cls, path: str | Path, *, labels: npt.ArrayLike, keys: Sequence[bytes | str]) -> Self:
        """Reads a sample that was saved for the same data.

        Args:
            path: A file written by `save`.
            labels: `(rows,)` class ids of the data.
            keys: One identity a row, as given to `sample_few_shot`.

        Returns:
            The sample that was saved.

        Raises:
            InputError: If the file has another form, or was made for other rows or for the same
                rows in another order.
        """
        path = Path(path)
        rows, identities = checked_rows(labels, keys)
        content = _read_content(path)
        if content["num_rows"] != len(rows) or content["fingerprint"] != fingerprint(
            rows, identities
        ):
            raise InputError(
                f"{path}: was made for other images or labels, or for another order of them; use "
                f"it with the data it was made from, or draw again with seed {content['seed']}."
            )
        indices = content["indices"]
        if any(index >= len(rows) for index in indices) or len(set(indices)) != len(indices):
            raise InputError(
                f"{path}: `indices` must be different row numbers below {len(rows)}; draw again."
            )
        chosen = np.array(indices, dtype=np.int64)
        return cls(
            indices=chosen,
            shots=content["shots"],
            seed=content["seed"],
            short=short_classes(rows, chosen, content["shots"]),
            num_rows=len(rows),
            fingerprint=content["fingerprint"],
        )


def checked_rows(
    labels: npt.ArrayLike, keys: Sequence[bytes | str]
) -> tuple[npt.NDArray[np.integer], list[bytes]]:
    """Returns the labels as an array and the keys as bytes, or raises an error."""
    rows = np.asarray(labels)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.size == 0 or rows.min() < 0:
        raise InputError(
            f"`labels` must be one or more class ids >= 0, shape (rows,). Received: shape "
            f"{rows.shape}, dtype {rows.dtype.name}"
        )
    if isinstance(keys, bytes | str) or len(keys) != len(rows):
        raise InputError(
            f"`keys` must be a sequence of {len(rows)} identities, one for each label. Received: "
            f"{type(keys).__name__} of length {len(keys)}"
        )
    return rows, [key_bytes(key) for key in keys]


def key_bytes(key: bytes | str) -> bytes:
    """Returns a key as bytes."""
    # surrogateescape: a file name need not be valid UTF-8.
    return key.encode("utf-8", "surrogateescape") if isinstance(key, str) else bytes(key)


def fingerprint(labels: npt.NDArray[np.integer], keys: Sequence[bytes]) -> str:
    """Returns the SHA-256 of all rows in order, since indices depend on the order."""
    digest = hashlib.sha256()
    for label, key in zip(labels.tolist(), keys, strict=True):
        digest.update(f"{label}:{len(key)}:".encode() + key)
    return digest.hexdigest()


def short_classes(
    labels: npt.NDArray[np.integer], indices: npt.NDArray[np.int64], shots: int | Literal["all"]
) -> dict[int, int]:
    """Returns `{class id: chosen rows}` for the classes with fewer than `shots` of them."""
    if shots == "all":
        return {}
    classes, numbers = np.unique(labels[indices], return_counts=True)
    chosen = dict(zip(classes.tolist(), numbers.tolist(), strict=True))
    every = np.unique(labels).tolist()
    return {label: chosen.get(label, 0) for label in every if chosen.get(label, 0) < shots}


def _read_content(path: Path) -> dict[str, Any]:
    """Reads the JSON and checks the types of its values."""
    content = read_json_object(path, f"expected a file of few-shot indices ({FORMAT})")
    if content.get("format") != FORMAT:
        raise InputError(f"{path}: is not a file of few-shot indices ({FORMAT}).")
    indices = content.get("indices")
    valid = (
        (content.get("shots") == "all" or _is_count(content.get("shots"), least=1))
        and type(content.get("seed")) is int
        and _is_count(content.get("num_rows"), least=1)
        and isinstance(content.get("fingerprint"), str)
        and isinstance(indices, list)
        and all(_is_count(index, least=0) for index in indices)
    )
    if not valid:
        raise InputError(
            f"{path}: `shots`, `seed`, `num_rows`, `fingerprint` or `indices` is missing or of the "
            f"wrong type; draw the sample again."
        )
    return content


def _is_count(value: object, *, least: int) -> bool:
    return type(value) is int and value >= least
