"""Tensors of the Open Inference Protocol v2, in JSON and in its binary extension."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm_server.request_error import RequestError

_MAX_DIMENSIONS = 8
_DATATYPES = {"b": "BOOL", "f": "FP32", "O": "BYTES"}  # by numpy's kind of dtype


@dataclass(frozen=True)
class Tensor:
    """A tensor of a request.

    Args:
        name: Its name.
        shape: Its shape.
        values: An array of uint8 of this shape, or a list of bytes in the order of the elements.
    """

    name: str
    shape: tuple[int, ...]
    values: npt.NDArray[np.uint8] | list[bytes]


@dataclass(frozen=True)
class WantedOutput:
    """An output that a request asks for.

    Args:
        name: Its name.
        binary: Whether its values are to be sent in binary.
        classes: How many of the best classes are wanted in place of the numbers, 0 for the numbers.
    """

    name: str
    binary: bool = False
    classes: int = 0


@dataclass(frozen=True)
class InferRequest:
    """A request for inference.

    Args:
        inputs: Its tensors.
        outputs: What it asks for; empty for all outputs.
        id: What the answer repeats, or `None`.
        binary: Whether all outputs are wanted in binary if it names none.
        reject: The rate for the output `unknown`, unchecked, or `None`.
        coverage: The rate for the output `prediction_sets`, unchecked, or `None`.
    """

    inputs: list[Tensor]
    outputs: list[WantedOutput] = field(default_factory=list)
    id: str | None = None
    binary: bool = False
    reject: Any = None
    coverage: Any = None


def parse_infer_request(body: bytes, json_length: int | None = None) -> InferRequest:
    """Reads the body of a request for inference.

    Args:
        body: The body.
        json_length: The value of `Inference-Header-Content-Length`: where the JSON ends and the
            binary values begin. `None` if all is JSON.

    Returns:
        The request.

    Raises:
        RequestError: If the body breaks the protocol (400).

    Example:
        >>> tensor = {"name": "x", "datatype": "UINT8", "shape": [1, 2], "data": [[3, 4]]}
        >>> parse_infer_request(json.dumps({"inputs": [tensor]}).encode()).inputs[0].values
        array([[3, 4]], dtype=uint8)
    """
    if json_length is not None and json_length > len(body):
        raise _refusal(
            f"Inference-Header-Content-Length is {json_length}, but the body has {len(body)} bytes"
        )
    try:
        content = json.loads(body[:json_length])
    # ValueError: no JSON or no UTF-8. RecursionError: brackets nested without end.
    except (ValueError, RecursionError):
        raise _refusal("the body is not JSON") from None
    content = _object(content, "the body")
    reader = _BinaryValues(body[json_length:] if json_length is not None else b"")
    given = content.get("inputs")
    if not isinstance(given, list) or not given:
        raise _refusal("`inputs` must be a list of at least one tensor")
    inputs = [_tensor(each, reader) for each in given]
    reader.must_be_used_up()
    outputs = content.get("outputs", [])
    if not isinstance(outputs, list):
        raise _refusal("`outputs` must be a list")
    request_id = content.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise _refusal("`id` must be a string")
    parameters = _parameters(content)
    return InferRequest(
        inputs,
        [_wanted(each) for each in outputs],
        request_id,
        _flag(parameters, "binary_data_output"),
        parameters.get("reject"),
        parameters.get("coverage"),
    )


def encode_infer_response(
    head: dict[str, Any], outputs: Sequence[tuple[WantedOutput, npt.NDArray[Any]]]
) -> tuple[bytes, int | None]:
    """Writes the body of an answer.

    Args:
        head: Its members beside `outputs`.
        outputs: Outputs and their values: arrays of float32, of bool, or of `bytes` objects.

    Returns:
        The body, and the length of its JSON if binary values follow.

    Example:
        >>> values = np.zeros((1, 2), "float32")
        >>> encode_infer_response({}, [(WantedOutput("y", binary=True), values)])[1]
        104
    """
    described, blobs = [], []
    for wanted, values in outputs:
        is_text = values.dtype == object
        output: dict[str, Any] = {
            "name": wanted.name,
            "datatype": _DATATYPES[values.dtype.kind],
            "shape": list(values.shape),
        }
        if wanted.binary:
            blobs.append(_to_binary(values))
            output["parameters"] = {"binary_data_size": len(blobs[-1])}
        elif is_text:
            output["data"] = [value.decode() for value in values.ravel()]
        else:
            output["data"] = values.ravel().tolist()
        described.append(output)
    text = json.dumps({**head, "outputs": described}, ensure_ascii=False, allow_nan=False).encode()
    return b"".join([text, *blobs]), len(text) if blobs else None


def _to_binary(values: npt.NDArray[Any]) -> bytes:
    if values.dtype != object:
        return values.astype("<f4" if values.dtype.kind == "f" else values.dtype).tobytes()
    return b"".join(struct.pack("<I", len(value)) + value for value in values.ravel())


class _BinaryValues:
    """The binary values behind the JSON of a request, in the order of its tensors."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self._place : self._place + size]
        if len(taken) < size:
            raise _refusal(
                f"a tensor has `binary_data_size` {size}, but {len(taken)} bytes are left of the "
                "body"
            )
        self._place += size
        return taken

    def must_be_used_up(self) -> None:
        if self._place < len(self._data):
            raise _refusal(
                f"the body has {len(self._data) - self._place} bytes more than its tensors"
            )


def _tensor(content: Any, reader: _BinaryValues) -> Tensor:
    content = _object(content, "a tensor")
    name = content.get("name")
    if not isinstance(name, str):
        raise _refusal("a tensor must have a `name`")
    shape = content.get("shape")
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= _MAX_DIMENSIONS
        or not all(type(size) is int and 0 <= size < 2**31 for size in shape)
    ):
        raise _refusal(f"the `shape` of {name!r} must be a list of whole numbers >= 0")
    datatype = content.get("datatype")
    if datatype not in ("UINT8", "BYTES"):
        raise _refusal(f"the `datatype` of {name!r} must be UINT8 or BYTES. Received: {datatype!r}")
    number = math.prod(shape)
    size = _parameters(content).get("binary_data_size")
    values: npt.NDArray[np.uint8] | list[bytes]
    if size is None:
        if "data" not in content:
            raise _refusal(f"{name!r} has neither `data` nor `binary_data_size`")
        values = (_bytes if datatype == "BYTES" else _uint8)(name, content["data"])
    elif type(size) is not int or size < 0 or "data" in content:
        raise _refusal(
            f"`binary_data_size` of {name!r} must be a whole number >= 0, without `data`"
        )
    elif datatype == "BYTES":
        values = _split(name, reader.take(size))
    else:
        values = np.frombuffer(reader.take(size), "uint8")
    if len(values) != number:
        raise _refusal(
            f"{name!r} has {len(values)} values, but its shape {shape} asks for {number}"
        )
    if not isinstance(values, list):
        values = values.reshape(shape)
    return Tensor(name, tuple(shape), values)


def _uint8(name: str, data: Any) -> npt.NDArray[np.uint8]:
    """Reads numbers, nested or flat, as a flat array."""
    try:
        values = np.asarray(data)
    except (ValueError, OverflowError):  # lists of different lengths, numbers without end
        values = np.empty(1, object)
    whole = values.dtype.kind in "iu" and (
        not values.size or (values.min() >= 0 and values.max() <= 255)
    )
    if not isinstance(data, list) or not (whole or data == []):
        raise _refusal(f"the `data` of {name!r} must be whole numbers from 0 to 255")
    return values.astype("uint8").ravel()


def _bytes(name: str, data: Any) -> list[bytes]:
    """Reads a list of strings in base64, since JSON has no bytes."""
    if not isinstance(data, list) or not all(isinstance(value, str) for value in data):
        raise _refusal(f"the `data` of {name!r} must be a flat list of strings in base64")
    try:
        return [base64.b64decode(value, validate=True) for value in data]
    except (binascii.Error, ValueError):
        raise _refusal(f"the `data` of {name!r} must be strings in base64") from None


def _split(name: str, data: bytes) -> list[bytes]:
    """Splits values that each have their length in four bytes before them."""
    values, place = [], 0
    while place < len(data):
        start = place + 4
        length = int.from_bytes(data[place:start], "little")
        if start > len(data) or start + length > len(data):
            raise _refusal(f"the binary values of {name!r} are cut off")
        values.append(data[start : start + length])
        place = start + length
    return values


def _wanted(content: Any) -> WantedOutput:
    content = _object(content, "an output")
    name = content.get("name")
    if not isinstance(name, str):
        raise _refusal("an output must have a `name`")
    parameters = _parameters(content)
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise _refusal("`classification` must be a whole number >= 0")
    return WantedOutput(name, _flag(parameters, "binary_data"), classes)


def _parameters(content: dict[str, Any]) -> dict[str, Any]:
    return _object(content.get("parameters", {}), "`parameters`")


def _flag(parameters: dict[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise _refusal(f"`{name}` must be true or false")
    return value


def _object(content: Any, what: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise _refusal(f"{what} must be a JSON object")
    return content


def _refusal(message: str) -> RequestError:
    return RequestError(400, f"{message}.")
