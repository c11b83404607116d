"""The Open Inference Protocol v2, which the clients of KServe and Triton speak.

References:
    https://github.com/kserve/open-inference-protocol;
    https://github.com/triton-inference-server/server/tree/main/docs/protocol, the extensions
    "binary tensor data" and "classification".
"""

from __future__ import annotations

import asyncio
import importlib.metadata
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keras_cmm_server.batcher import Logits
from keras_cmm_server.inference_service import InferenceService, UploadedImage
from keras_cmm_server.request_bodies import request_body
from keras_cmm_server.request_error import RequestError
from keras_cmm_server.tensors import (
    InferRequest,
    WantedOutput,
    encode_infer_response,
    parse_infer_request,
)

MODEL_VERSION = "1"
OUTPUTS = ("logits", "probabilities")
# Outputs of a request that has the parameter.
_OUTPUTS_OF_RATES = {"unknown": "reject", "prediction_sets": "coverage"}
JSON_LENGTH = "Inference-Header-Content-Length"


async def live(request: Request) -> JSONResponse:
    """Answers that the process lives."""
    return JSONResponse({"live": True})


async def ready(request: Request) -> JSONResponse:
    """Answers whether images can be sent."""
    is_ready = request.app.state.service.is_ready
    return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else 503)


async def server_metadata(request: Request) -> JSONResponse:
    """Answers with the name, version and extensions of the server."""
    return JSONResponse(
        {
            "name": "keras-cmm",
            "version": _version(),
            "extensions": ["binary_tensor_data", "classification"],
        }
    )


async def model_ready(request: Request) -> JSONResponse:
    """Answers whether images can be sent to this model."""
    _check_model(request)
    is_ready = request.app.state.service.is_ready
    content = {"name": request.app.state.name, "ready": is_ready}
    return JSONResponse(content, status_code=200 if is_ready else 503)


async def model_metadata(request: Request) -> JSONResponse:
    """Answers with the tensors of the model, and with its classes."""
    _check_model(request)
    classifier = request.app.state.service.classifier
    size, classes = classifier.preprocessor.image_size, len(classifier.class_names)
    return JSONResponse(
        {
            "name": request.app.state.name,
            "versions": [MODEL_VERSION],
            "platform": "onnxruntime_onnx",
            "inputs": [
                {"name": "pixels", "datatype": "UINT8", "shape": [-1, size, size, 3]},
                {"name": "images", "datatype": "BYTES", "shape": [-1]},
            ],
            "outputs": [
                {"name": name, "datatype": "FP32", "shape": [-1, classes]} for name in OUTPUTS
            ],
            "parameters": {"class_names": classifier.class_names, "digest": classifier.digest},
        }
    )


async def infer(request: Request) -> Response:
    """Runs the model on the tensor `pixels` or on the encoded images of the tensor `images`."""
    _check_model(request)
    service: InferenceService = request.app.state.service
    async with request_body(request, service) as body:
        # Millions of numbers in JSON would hold up all other requests.
        asked = await asyncio.to_thread(parse_infer_request, body, _json_length(request))
        logits = await _logits(service, asked)
    answer, json_length = await asyncio.to_thread(_answer, request, service, asked, logits)
    if json_length is None:
        return Response(answer, media_type="application/json")
    headers = {JSON_LENGTH: str(json_length)}
    return Response(answer, media_type="application/octet-stream", headers=headers)


async def _logits(service: InferenceService, asked: InferRequest) -> Logits:
    for wanted in asked.outputs:
        _check_output(asked, wanted)
    service.check_rates(asked.reject, asked.coverage)
    size = service.classifier.preprocessor.image_size
    if len(asked.inputs) != 1 or asked.inputs[0].name not in ("pixels", "images"):
        names = ", ".join(repr(tensor.name) for tensor in asked.inputs)
        raise RequestError(400, f"expected one input, 'pixels' or 'images'. Received: {names}")
    tensor = asked.inputs[0]
    values = tensor.values
    if tensor.name == "images":
        # Triton's clients send a batch of strings as one column, too.
        if not isinstance(values, list) or tensor.shape not in ((len(values),), (len(values), 1)):
            raise RequestError(400, "'images' must have the datatype BYTES and the shape [images].")
        _check_not_empty(tensor.shape)
        return await service.classify_images(
            [UploadedImage(f"image {place}", value) for place, value in enumerate(values)]
        )
    if isinstance(values, list) or tensor.shape[1:] != (size, size, 3):
        raise RequestError(
            400,
            f"'pixels' must have the datatype UINT8 and the shape [images, {size}, {size}, 3]. "
            f"Received: {list(tensor.shape)}",
        )
    _check_not_empty(tensor.shape)
    return await service.classify_pixels(values)


def _check_output(asked: InferRequest, wanted: WantedOutput) -> None:
    rate = _OUTPUTS_OF_RATES.get(wanted.name)
    if rate is None and wanted.name not in OUTPUTS:
        names = " or ".join((*OUTPUTS, *_OUTPUTS_OF_RATES))
        raise RequestError(400, f"there is no output {wanted.name!r}; expected {names}.")
    if rate and getattr(asked, rate) is None:
        raise RequestError(400, f"the output {wanted.name!r} needs the parameter `{rate}`.")
    if rate and wanted.classes:
        raise RequestError(400, f"the output {wanted.name!r} takes no `classification`.")


def _check_not_empty(shape: tuple[int, ...]) -> None:
    if not shape[0]:
        raise RequestError(400, "expected at least one image. Received: none")


def _answer(
    request: Request, service: InferenceService, asked: InferRequest, logits: Logits
) -> tuple[bytes, int | None]:
    probabilities = service.classifier.probabilities(logits)
    values: dict[str, npt.NDArray[Any]] = {"logits": logits, "probabilities": probabilities}
    if (scores := service.classifier.held_out_scores) is not None:
        if asked.reject is not None:
            values["unknown"] = scores.is_unknown(probabilities, asked.reject)
        if asked.coverage is not None:
            values["prediction_sets"] = scores.prediction_sets(probabilities, asked.coverage)
    wanted = asked.outputs or [WantedOutput(name, asked.binary) for name in values]
    head = {"model_name": request.app.state.name, "model_version": MODEL_VERSION}
    if asked.id is not None:
        head["id"] = asked.id
    names = service.classifier.class_names
    return encode_infer_response(
        head,
        [
            (each, _best(values[each.name], each.classes, names) if each.classes else rows)
            for each in wanted
            for rows in [values[each.name]]
        ],
    )


def _best(rows: Logits, number: int, names: list[str]) -> npt.NDArray[Any]:
    """Returns the best classes of each row as `value:index:name`, as Triton does."""
    number = min(number, len(names))
    best = np.argsort(-rows, axis=1, kind="stable")[:, :number]
    texts = np.empty(best.shape, object)
    for row, column in np.ndindex(*best.shape):
        index = best[row, column]
        texts[row, column] = f"{rows[row, index]:f}:{index}:{names[index]}".encode()
    return texts


def _check_model(request: Request) -> None:
    """Refuses other models and versions than the one that is served."""
    name, version = request.path_params["name"], request.path_params.get("version", MODEL_VERSION)
    if name != request.app.state.name:
        raise RequestError(
            404, f"there is no model {name!r}; this server has {request.app.state.name!r}."
        )
    if version != MODEL_VERSION:
        raise RequestError(404, f"there is no version {version!r}; expected {MODEL_VERSION!r}.")


def _json_length(request: Request) -> int | None:
    text = request.headers.get(JSON_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise RequestError(400, f"{JSON_LENGTH} must be a whole number >= 0. Received: {text!r}")
    return int(text[:12])


def _version() -> str:
    try:
        return importlib.metadata.version("keras-cmm")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
