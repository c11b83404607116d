"""`POST /predict`: images in, class names out."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse

from keras_cmm_runtime.utils import shortened
from keras_cmm_server.inference_service import InferenceService, UploadedImage
from keras_cmm_server.request_bodies import parsed_form, request_body
from keras_cmm_server.request_error import RequestError

OPTIONS = ("top_k", "reject", "coverage")

# curl's `--data-binary` sends the last one for any file.
_RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")


async def predict(request: Request) -> JSONResponse:
    """Answers with the classes of each image of a form, or of one raw body."""
    service: InferenceService = request.app.state.service
    async with request_body(request, service) as body:
        images, options = await _read(request, body, service)
        logits = await service.classify_images(images)
    answers = [
        {
            "image": image.name,
            "predictions": [{"class": name, "probability": value} for name, value in classes],
        }
        for image, classes in zip(images, service.classifier.named(logits, **options), strict=True)
    ]
    return JSONResponse({"model": request.app.state.name, "images": answers})


async def _read(
    request: Request, body: bytes, service: InferenceService
) -> tuple[list[UploadedImage], dict[str, Any]]:
    """Returns the images, and the arguments of `OnnxClassifier.named`."""
    query = request.query_params
    if unknown := set(query) - set(OPTIONS):
        raise RequestError(
            400,
            f"the query has the unknown name {min(unknown)!r}; expected {', '.join(OPTIONS)}.",
        )
    given = {name: query.getlist(name) for name in OPTIONS if name in query}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        if kind not in _RAW_TYPES and not kind.startswith("image/"):
            raise RequestError(
                415,
                f"the content type {kind!r} is not taken; send one image as image/* or "
                "application/octet-stream, or files as multipart/form-data.",
            )
        if not body:
            raise RequestError(400, "the body is empty; send an image.")
        return [UploadedImage("body", body)], _options(given, service)
    images: list[UploadedImage] = []
    async with parsed_form(request, body, service.settings.max_images) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                data = await value.read()
                images.append(UploadedImage(_shown(value.filename, len(images)), data))
            elif name in OPTIONS:
                given.setdefault(name, []).append(value)
            else:
                raise RequestError(
                    400,
                    f"the form has the unknown field {name!r}; expected files, and "
                    f"{', '.join(OPTIONS)}.",
                )
    if not images:
        raise RequestError(400, "the form has no file; send at least one, as the field `file`.")
    return images, _options(given, service)


def _options(given: dict[str, list[str]], service: InferenceService) -> dict[str, Any]:
    if {"top_k", "coverage"} <= set(given):
        raise RequestError(400, "`top_k` and `coverage` exclude each other; give one.")
    options = {
        name: (_top_k if name == "top_k" else _rate)(name, texts) for name, texts in given.items()
    }
    service.check_rates(options.get("reject"), options.get("coverage"))
    return options


def _top_k(name: str, texts: list[str]) -> int:
    text = texts[0]
    if len(texts) > 1 or not (text.isascii() and text.isdecimal()) or not int(text[:9]):
        raise _not_one(name, "whole number >= 1", texts)
    return int(text[:9])


def _rate(name: str, texts: list[str]) -> float:
    try:
        (text,) = texts
        return float(text)
    except ValueError:
        raise _not_one(name, "number", texts) from None


def _not_one(name: str, what: str, texts: list[str]) -> RequestError:
    received = ", ".join(map(repr, texts))
    return RequestError(400, f"`{name}` must be one {what}. Received: {received}")


def _shown(filename: str | None, place: int) -> str:
    """Returns a client's file name as one short line of printable characters."""
    name = filename or f"file {place}"
    return shortened(name if name.isprintable() else repr(name)[1:-1])
