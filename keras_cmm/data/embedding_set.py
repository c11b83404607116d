"""Image and text embeddings of one dataset."""

import functools
import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from keras_cmm.data.embedding_shards import read_embedding_shards
from keras_cmm.data.few_shot import row_keys
from keras_cmm.data.named_embeddings import NamedEmbeddings
from keras_cmm.utils.embedding_rows import find_bad_row
from keras_cmm.utils.lazy_rows import forget_pages
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale import is_shard_folder
from keras_cmm_runtime.utils import refuse_special_file, replacing, unit_rows, warn

FORMAT = "keras-cmm-embeddings/1"

_TENSORS = (
    *("train_embeddings", "train_labels", "val_embeddings", "val_labels", "test_embeddings"),
    *("test_labels", "text_embeddings", "train_keys", "val_keys"),
)
_OPTIONAL = {"val_embeddings", "val_labels", "train_keys", "val_keys"}
# For each kind of tensor safetensors' names of the types that a file may have, with numpy's.
_TYPES = {
    "embeddings": {"F16": "<f2", "F32": "<f4", "F64": "<f8"},
    "labels": {f"{kind}{8 * n}": f"<{kind.lower()}{n}" for kind in "IU" for n in (1, 2, 4, 8)},
    "keys": {"U8": "<u1"},
}
_EXPECTED = {
    "embeddings": "float16, float32 or float64",
    "labels": "an integer type",
    "keys": "U8",
}
_NAMES = {np.dtype(ours): name for types in _TYPES.values() for name, ours in types.items()}
# Unicode's categories of control characters, line separators and halves of characters.
_NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}
# Numbers that are converted to float32 at a time: 4 MiB, whatever the size of the file.
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddingSet:
    """CLIP embeddings of a dataset's images and class texts, as one `keras-cmm-embeddings/1` file.

    The constructor checks shapes, labels and class names; `read` and `write` check the values of
    the rows. Rows need not be of unit length.

    Args:
        train_embeddings: `(train, dim)` floats, to draw few-shot samples from.
        train_labels: `(train,)` integer class ids in `[0, classes)`.
        test_embeddings: `(test, dim)` floats, the full test set.
        test_labels: `(test,)` integer class ids.
        text_embeddings: `(classes, dim)` floats, row `c` the text prototype of class `c`.
        val_embeddings: `(val, dim)` floats, to draw validation samples from, or `None`.
        val_labels: `(val,)` integer class ids, or `None`.
        train_keys: `(train, 32)` uint8 identities of the images for few-shot draws, from
            `key_digests`, or `None` to use the rows themselves as identities.
        val_keys: `(val, 32)` uint8, or `None`.
        class_names: One name a class, none blank or with control characters. Names may repeat where
            the texts are the same, as of ImageNet's two classes named `missile`.
        dataset: Name of the dataset.
        backbone: Name of the model that made the embeddings.
        logit_scale: The factor from cosine similarities to logits. Defaults to 100.0, the value of
            the OpenAI models.
        protocol: Name of the split protocol in results.
        notes: Free text.
        also: Embeddings of the same images by further encoders, by name, such as
            `{"dinov3": NamedEmbeddings(train, test)}`. A name may be any text without control
            characters. Nothing uses them unless they are asked for by name.

    Raises:
        InputError: If the arrays and names do not match each other.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> eye = np.eye(3, dtype="float32")
        >>> embeddings = EmbeddingSet(
        ...     train_embeddings=eye, train_labels=np.arange(3),
        ...     test_embeddings=eye, test_labels=np.arange(3),
        ...     text_embeddings=eye, class_names=["ant", "bee", "cat"],
        ...     dataset="insects", backbone="CLIP",
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     embeddings.write(f"{folder}/insects.safetensors")
        ...     EmbeddingSet.read(f"{folder}/insects.safetensors").num_classes
        3
    """

    train_embeddings: npt.NDArray[np.floating]
    train_labels: npt.NDArray[np.integer]
    test_embeddings: npt.NDArray[np.floating]
    test_labels: npt.NDArray[np.integer]
    text_embeddings: npt.NDArray[np.floating]
    val_embeddings: npt.NDArray[np.floating] | None = None
    val_labels: npt.NDArray[np.integer] | None = None
    train_keys: npt.NDArray[np.uint8] | None = None
    val_keys: npt.NDArray[np.uint8] | None = None
    class_names: list[str]
    dataset: str
    backbone: str
    logit_scale: float = 100.0
    protocol: str = "embeddings"
    notes: str = ""
    also: Mapping[str, NamedEmbeddings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.val_keys is not None and self.val_embeddings is None:
            raise InputError("`val_keys` is given without `val_embeddings`; give both.")
        if (self.val_embeddings is None) != (self.val_labels is None):
            raise InputError(
                "only one of `val_embeddings` and `val_labels` is given; give both or neither."
            )
        tensors = self._tensors()
        embeddings = {name: array for name, array in tensors.items() if _kind(name) == "embeddings"}
        for name, array in embeddings.items():
            _check_array(name, array, rank=2, kind="f", expected="float16, float32 or float64")
        width = self.text_embeddings.shape[1]
        for name, array in embeddings.items():
            if "." not in name and array.shape[1] != width:
                raise InputError(
                    f"`{name}` has {array.shape[1]} columns and `text_embeddings` {width}; both "
                    "must come from the same model."
                )
        if self.num_classes < 2:
            raise InputError("`text_embeddings` has one row; a classifier needs 2 classes or more.")
        for name, array in tensors.items():
            if _kind(name) == "labels":
                _check_array(name, array, rank=1, kind="iu", expected="integers")
                self._check_labels(name, array, len(tensors[name.replace("labels", "embeddings")]))
            if _kind(name) == "keys":
                rows = len(tensors[name.replace("keys", "embeddings")])
                if array.shape != (rows, 32) or array.dtype != np.uint8:
                    raise InputError(
                        f"`{name}` has shape {array.shape} and dtype {array.dtype.name}; expected "
                        f"({rows}, 32) and uint8, as `key_digests` gives them."
                    )
        for also in self.also:
            self._check_also(also)
        names = self.class_names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError("`class_names` must be a list of strings, one for each class.")
        if len(names) != self.num_classes:
            raise InputError(
                f"`class_names` has {len(names)} names and `text_embeddings` {self.num_classes} "
                f"rows; there must be one name for each class."
            )
        self._check_names(names)
        if not (
            isinstance(self.logit_scale, Real)
            and math.isfinite(self.logit_scale)
            and self.logit_scale > 0
        ):
            raise InputError(
                f"`logit_scale` must be a number > 0. Received: logit_scale={self.logit_scale!r}"
            )
        for text in ("dataset", "backbone", "protocol", "notes"):
            if not isinstance(getattr(self, text), str):
                raise InputError(
                    f"`{text}` must be a string. Received: {text}={getattr(self, text)!r}"
                )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.text_embeddings)

    def keys(self, part: Literal["train", "val"]) -> list[bytes]:
        """Returns one identity for each image of a part, for `sample_few_shot`."""
        if part not in self._known_keys:
            keys = self.train_keys if part == "train" else self.val_keys
            embeddings = self.train_embeddings if part == "train" else self.val_embeddings
            if embeddings is None:
                raise InputError("the embedding set has no validation rows.")
            self._known_keys[part] = (
                row_keys(embeddings) if keys is None else [key.tobytes() for key in keys]
            )
        return self._known_keys[part]

    @functools.cached_property
    def _known_keys(self) -> dict[str, list[bytes]]:
        """A cache for `keys`, which each draw calls and which takes seconds for a million rows."""
        return {}

    def further(self, name: str) -> NamedEmbeddings:
        """Returns the embeddings of a further encoder.

        Args:
            name: One of `also`.

        Raises:
            InputError: If there are none of that name.
        """
        if name not in self.also:
            there = ", ".join(self.also) or "none"
            raise InputError(
                f"has no embeddings by a further encoder of the name {name!r}; it has: {there}."
            )
        return self.also[name]

    def digest(self, also: str | None = None) -> str:
        """Returns a digest of all that a result depends on.

        These are the bits of the embeddings and keys, in their precision, the labels, the class
        names and the logit scale. Embeddings that differ in the last bit have another digest.

        Args:
            also: The name of the further embeddings that the result depends on, or `None`.
        """
        head = json.dumps([self.class_names, float(self.logit_scale)])
        digest = hashlib.sha256(head.encode())
        tensors = self._own_tensors()
        if also is not None:
            tensors |= self.further(also).tensors(also)
        for name, array in tensors.items():
            # Labels have the type of a file's, so that a set and its file have the same digest.
            is_labels = _kind(name) == "labels"
            dtype = np.dtype("<i4") if is_labels else array.dtype.newbyteorder("<")
            digest.update(f"{name} {dtype.str} {array.shape} ".encode())
            step = _rows_per_chunk(array.shape)
            for first in range(0, len(array), step):
                rows = np.ascontiguousarray(array[first : first + step], dtype)
                digest.update(rows.view(np.uint8).data)
                forget_pages(array)
        return digest.hexdigest()[:16]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Reads a `keras-cmm-embeddings/1` file.

        The embeddings are read-only views into the file, in its precision; labels are int32 in
        memory. The rows are checked in pieces, so memory does not grow with the file.

        Args:
            path: The safetensors file, or a folder of `keras-cmm embed --engine`, which may be a
                URI such as `"s3://bucket/folder"`. A file's optional metadata with their defaults:
                `logit_scale` (100.0), `dataset` (the file's name), `backbone` ("unknown"),
                `protocol` ("embeddings"), `notes` ("").

        Returns:
            The embedding set.

        Raises:
            InputError: If the file is not valid. The message names the file and the reason.
        """
        if is_shard_folder(str(path)):
            fields = read_embedding_shards(str(path))
            try:
                return cls(**fields)
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
        if "://" in str(path):
            raise InputError(f"{path}: no run of `keras-cmm embed --engine` has written there.")
        path = Path(path)
        refuse_special_file(path)
        try:
            embedding_set = cls(**_read_fields(path))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
        scale = embedding_set.logit_scale
        if 2 < scale < 6:  # The logarithms from CLIP's first 1 / 0.07 to more than any model has.
            warn(
                f"{path}: `logit_scale` {scale:g} may be the logarithm that checkpoints hold; if "
                f"so, write exp({scale:g}) = {math.exp(scale):.4g} instead."
            )
        return embedding_set

    def write(self, path: str | Path, dtype: npt.DTypeLike = "float16") -> None:
        """Writes a `keras-cmm-embeddings/1` file, whole or not at all.

        The same set gives the same bytes on every platform. Labels are stored as int32.

        Args:
            path: The file to write or replace; its folder must exist.
            dtype: Precision of the stored embeddings: float16 (default), float32 or float64.

        Raises:
            InputError: If a row has NaN, infinite or only zero values in `dtype`, or the file
                cannot be written.
        """
        path = Path(path)
        precision = np.dtype(dtype).newbyteorder("<")
        if precision not in map(np.dtype, _TYPES["embeddings"].values()):
            raise InputError(
                f"`dtype` must be float16, float32 or float64. Received: dtype={precision.name}"
            )
        tensors = self._tensors()
        stored = {"embeddings": precision, "labels": "<i4", "keys": "<u1"}
        dtypes = {name: np.dtype(stored[_kind(name)]) for name in tensors}
        # The widest numbers come first, so that each tensor starts at a multiple of its item size.
        names = sorted(tensors, key=lambda name: (-dtypes[name].itemsize, name))
        header: dict[str, Any] = {"__metadata__": self._metadata()}
        end = 0
        for name in names:
            start, end = end, end + tensors[name].size * dtypes[name].itemsize
            header[name] = {
                "dtype": _NAMES[dtypes[name]],
                "shape": tensors[name].shape,
                "data_offsets": [start, end],
            }
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        with replacing(path) as file:
            file.write(len(head).to_bytes(8, "little") + head)
            for name in names:
                array = tensors[name]
                step = _rows_per_chunk(array.shape)
                for start in range(0, len(array), step):
                    with np.errstate(over="ignore"):
                        chunk = array[start : start + step].astype(dtypes[name])
                    if chunk.dtype.kind == "f":
                        _check_rows(name, start, chunk)
                    file.write(chunk.tobytes())

    def _own_tensors(self) -> dict[str, npt.NDArray[Any]]:
        tensors = {name: getattr(self, name) for name in _TENSORS}
        return {name: array for name, array in tensors.items() if array is not None}

    def _tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Returns all arrays by their names in a file."""
        tensors = self._own_tensors()
        for name, further in self.also.items():
            tensors |= further.tensors(name)
        return tensors

    def _metadata(self) -> dict[str, str]:
        return {
            "format": FORMAT,
            "dataset": self.dataset,
            "backbone": self.backbone,
            "logit_scale": repr(float(self.logit_scale)),
            "class_names": json.dumps(self.class_names),
            "protocol": self.protocol,
            "notes": self.notes,
        }

    def _check_names(self, names: list[str]) -> None:
        rows: dict[str, int] = {}
        for row, name in enumerate(names):
            if not name.strip():
                raise InputError(f"`class_names` has a blank name, {name!r}, for class {row}.")
            if any(unicodedata.category(character) in _NO_TEXT for character in name):
                raise InputError(
                    f"`class_names` has a control character in {name!r}, the name of class {row}; "
                    "leave it out."
                )
            first = rows.setdefault(name, row)
            if first == row:
                continue
            texts = unit_rows(self.text_embeddings[[first, row]])
            if not np.allclose(texts[0], texts[1], atol=1e-3):
                raise InputError(
                    f"`class_names` has {name!r} twice, for the classes {first} and {row}, whose "
                    "texts differ; tell them apart as in 'crane (bird)'."
                )

    def _check_also(self, name: str) -> None:
        further = self.also[name]
        if not name.strip() or any(unicodedata.category(each) in _NO_TEXT for each in name):
            raise InputError(
                "the names of `also` must be texts without control characters, not blank. "
                f"Received: {name!r}"
            )
        if (further.val is None) != (self.val_embeddings is None):
            raise InputError(
                f"`also` must have `val` of {name!r} where the set has `val_embeddings`, and there "
                "alone."
            )
        tensors = further.tensors(name)
        for tensor, array in tensors.items():
            own = getattr(self, tensor.partition(".")[0])
            if array.shape != (len(own), further.dim):
                raise InputError(
                    f"`{tensor}` has shape {array.shape}; expected ({len(own)}, {further.dim}): "
                    "one row for each image, all of one width."
                )

    def _check_labels(self, name: str, labels: npt.NDArray[np.integer], rows: int) -> None:
        if len(labels) != rows:
            raise InputError(
                f"`{name}` has {len(labels)} values for {rows} rows of embeddings; there must be "
                f"one label for each row."
            )
        bad = np.flatnonzero((labels < 0) | (labels >= self.num_classes))
        if bad.size:
            raise InputError(
                f"`{name}` has {labels[bad[0]]} at row {bad[0]}; class ids must be 0 to "
                f"{self.num_classes - 1}, one for each row of `text_embeddings`."
            )


def _check_array(name: str, array: object, *, rank: int, kind: str, expected: str) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(f"`{name}` must be a numpy array. Received: {type(array).__name__}")
    _check_shape(name, array.shape, rank)
    if array.dtype.kind not in kind or array.dtype.itemsize > 8:
        raise InputError(f"`{name}` has dtype {array.dtype.name}; expected {expected}.")


def _check_shape(name: str, shape: tuple[int, ...], rank: int) -> None:
    if len(shape) != rank:
        expected = "(rows, dim)" if rank == 2 else "(rows,)"
        raise InputError(f"`{name}` has shape {shape}; expected {expected}.")
    if 0 in shape:
        raise InputError(f"`{name}` is empty, shape {shape}; expected one row or more.")


def _check_rows(name: str, first: int, chunk: npt.NDArray[np.floating]) -> None:
    """Raises an error for rows without a direction in float32, the precision of training."""
    bad = find_bad_row(chunk)
    if bad is not None:
        raise InputError(
            f"`{name}` has {bad.reason} in row {first + bad.row} (as {chunk.dtype.name}) and "
            "cannot be normalised; leave the row out or embed it again."
        )


def _rows_per_chunk(shape: tuple[int, ...]) -> int:
    return max(1, _CHUNK // math.prod(shape[1:]))


def _read_fields(path: Path) -> dict[str, Any]:
    """Reads the constructor's arguments from a file. `read` adds the file's name to messages."""
    if path.is_dir():
        raise InputError("is a folder; `keras-cmm embed` makes a file of embeddings from it.")
    if not path.is_file():
        raise InputError("no such file; expected a safetensors file of embeddings.")
    try:
        # safetensors checks the header against the size of the file.
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise InputError(f"is not a safetensors file, or is cut short ({error}).") from None
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    metadata = header.get("__metadata__") or {}
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"its metadata `format` is {metadata.get('format')!r}; expected {FORMAT!r}."
        )
    fields: dict[str, Any] = {
        "class_names": _class_names(metadata),
        "dataset": metadata.get("dataset", path.stem),
        "backbone": metadata.get("backbone", "unknown"),
        "logit_scale": _logit_scale(metadata),
        "protocol": metadata.get("protocol", "embeddings"),
        "notes": metadata.get("notes", ""),
    }
    for name in _TENSORS:
        if name in header or name not in _OPTIONAL:
            fields[name] = _read_tensor(path, header, 8 + size, name)
    fields["also"] = _read_further(path, header, 8 + size)
    return fields


def _read_further(path: Path, header: dict[str, Any], data: int) -> dict[str, NamedEmbeddings]:
    """Reads the embeddings of further encoders, such as `train_embeddings.dinov3`."""
    parts = ("train", "test", "val")
    starts = tuple(f"{part}_embeddings." for part in parts)
    names = sorted({name.partition(".")[2] for name in header if name.startswith(starts)})
    further = {}
    for name in names:
        rows = {
            part: _read_tensor(path, header, data, f"{part}_embeddings.{name}")
            for part in parts
            if part != "val" or f"val_embeddings.{name}" in header
        }
        further[name] = NamedEmbeddings(**rows)
    return further


def _read_tensor(path: Path, header: dict[str, Any], data: int, name: str) -> npt.NDArray[Any]:
    """Maps a tensor of embeddings, or reads one of labels or keys, and checks its values."""
    entry = header.get(name)
    if entry is None:
        raise InputError(f"has no tensor `{name}`.")
    kind, stored, shape = _kind(name), entry["dtype"], tuple(entry["shape"])
    if stored not in _TYPES[kind]:
        hint = " (numpy has no bfloat16)" if stored == "BF16" else ""
        raise InputError(f"`{name}` is stored as {stored}{hint}; store it as {_EXPECTED[kind]}.")
    dtype, offset = np.dtype(_TYPES[kind][stored]), data + entry["data_offsets"][0]
    if kind == "keys":
        return np.fromfile(path, dtype, count=math.prod(shape), offset=offset).reshape(shape)
    _check_shape(name, shape, rank=1 if kind == "labels" else 2)
    if kind == "labels":
        labels = np.fromfile(path, dtype, count=shape[0], offset=offset)
        # Ids that int32 would change keep their type, and the constructor rejects them.
        fits = labels.min() >= 0 and labels.max() <= np.iinfo(np.int32).max
        return labels.astype(np.int32) if fits else labels
    # The rows are not mapped here: pages of a mapping count as this process's memory.
    step = _rows_per_chunk(shape)
    with path.open("rb") as file:
        file.seek(offset)
        for first in range(0, shape[0], step):
            rows = min(step, shape[0] - first)
            chunk = np.fromfile(file, dtype, count=rows * shape[1]).reshape(rows, shape[1])
            _check_rows(name, first, chunk)
    return np.memmap(path, dtype, mode="r", offset=offset, shape=shape)


def _kind(name: str) -> str:
    """Returns "embeddings", "labels" or "keys" for the name of a tensor."""
    return name.partition(".")[0].rpartition("_")[2]


def _class_names(metadata: dict[str, str]) -> list[str]:
    try:
        names = json.loads(metadata["class_names"])
    except KeyError:
        raise InputError(
            "its metadata has no `class_names`; expected a JSON list of names."
        ) from None
    except (ValueError, RecursionError):
        raise InputError("its metadata `class_names` is not JSON; expected a list.") from None
    if not isinstance(names, list):
        raise InputError("its metadata `class_names` is JSON but not a list of names.")
    return names


def _logit_scale(metadata: dict[str, str]) -> float:
    text = metadata.get("logit_scale", "100.0")
    try:
        return float(text)
    except ValueError:
        raise InputError(f"`logit_scale` must be a number > 0. Received: {text!r}") from None
