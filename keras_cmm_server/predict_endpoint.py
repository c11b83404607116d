"""`POST /predict`: images in, class names out."""

from __future__ import annotations

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse

from keras_cmm_runtime.utils import shortened
from keras_cmm_server.inference_service import InferenceService, UploadedImage
from keras_cmm_server.request_bodies import parsed_form, request_body
from keras_cmm_server.request_error import RequestError

DEFAULT_TOP_K = 5

# curl's `--data-binary` sends the last one for any file.
_RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")


async def predict(request: Request) -> JSONResponse:
    """Answers with the most probable classes of each image of a form, or of one raw body."""
    service: InferenceService = request.app.state.service
    async with request_body(request, service) as body:
        images, top_k = await _read(request, body, service)
        logits = await service.classify_images(images)
    probabilities = service.classifier.probabilities(logits)
    names = service.classifier.class_names
    answers = []
    for image, row in zip(images, probabilities, strict=True):
        best = (-row).argsort(kind="stable")[:top_k].tolist()
        classes = [{"class": names[each], "probability": float(row[each])} for each in best]
        answers.append({"image": image.name, "predictions": classes})
    return JSONResponse({"model": request.app.state.name, "images": answers})


async def _read(
    request: Request, body: bytes, service: InferenceService
) -> tuple[list[UploadedImage], int]:
    unknown = set(request.query_params) - {"top_k"}
    if unknown:
        raise RequestError(400, f"the query has the unknown name {min(unknown)!r}; expected top_k.")
    given = request.query_params.getlist("top_k")
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
        return [UploadedImage("body", body)], _top_k(given)
    images: list[UploadedImage] = []
    async with parsed_form(request, body, service.settings.max_images) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                data = await value.read()
                images.append(UploadedImage(_shown(value.filename, len(images)), data))
            elif name == "top_k":
                given.append(value)
            else:
                raise RequestError(
                    400, f"the form has the unknown field {name!r}; expected files, and top_k."
                )
    if not images:
        raise RequestError(400, "the form has no file; send at least one, as the field `file`.")
    return images, _top_k(given)


def _top_k(given: list[str]) -> int:
    if not given:
        return DEFAULT_TOP_K
    text = given[0]
    if len(given) > 1 or not (text.isascii() and text.isdecimal()) or not int(text[:9]):
        raise RequestError(
            400, f"`top_k` must be one whole number >= 1. Received: {', '.join(map(repr, given))}"
        )
    return int(text[:9])


def _shown(filename: str | None, place: int) -> str:
    """Returns a client's file name as one short line of printable characters."""
    name = filename or f"file {place}"
    return shortened(name if name.isprintable() else repr(name)[1:-1])
