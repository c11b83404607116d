"""Reading the bodies of requests, within limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from keras_cmm_runtime.utils import shortened
from keras_cmm_studio.studio_settings import StudioSettings

_MAX_JSON = 2**20
_TIMEOUT = 60.0  # Seconds for a body to arrive.


class RequestError(Exception):
    """A request that is refused. The page gets the status and `{"error": message}`.

    Args:
        status: The HTTP status.
        message: One sentence: what was given, what was expected and how to mend it.
    """

    def __init__(self, status: int, message: str) -> None:
        self.message = shortened(" ".join(message.split()), 500)
        super().__init__(self.message)
        self.status = status


async def read_json(request: Request) -> dict[str, Any]:
    """Returns the JSON object that is the body of a request.

    Raises:
        RequestError: If it is none, or too large.
    """
    body = await _body(request, _MAX_JSON)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RequestError(400, "the body must be a JSON object.")
    return content


async def read_files(request: Request, settings: StudioSettings) -> list[tuple[str, bytes]]:
    """Returns the names and contents of the files that a form uploads.

    Args:
        request: The request.
        settings: The limits.

    Raises:
        RequestError: If it is no such form, too large (413), or has too many files.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise RequestError(415, "the images must be sent as files of multipart/form-data.")
    body = await _body(request, settings.max_body_bytes)

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    most = settings.max_images_a_request
    parser = _InMemoryParser(request.headers, stream(), max_files=most + 1, max_fields=1)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(400, f"the form cannot be read: {error.message}") from None
    try:
        files = [
            (_shown(value.filename), await value.read())
            for _, value in form.multi_items()
            if isinstance(value, UploadFile)
        ]
    finally:
        await form.close()
    if not files:
        raise RequestError(400, "the form has no file.")
    if len(files) > most:
        raise RequestError(413, f"a request may have {most} images at most; send fewer at a time.")
    return files


async def _body(request: Request, most: int) -> bytes:
    too_large = RequestError(413, f"a request may have {most:,} bytes at most; send less.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "compressed bodies are not taken.")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:18]) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_TIMEOUT):
            async for chunk in request.stream():
                if len(body) + len(chunk) > most:
                    raise too_large
                body += chunk
    except TimeoutError:
        raise RequestError(408, f"the body did not arrive within {_TIMEOUT:g} s.") from None
    return bytes(body)


def _shown(filename: str | None) -> str:
    """Returns the name of a file, without its folders, as one short line."""
    name = (filename or "image").replace("\\", "/").rpartition("/")[2] or "image"
    return shortened(name if name.isprintable() else repr(name)[1:-1])


class _InMemoryParser(MultiPartParser):
    """A parser that writes no uploads to the disk: the body is in memory already."""

    spool_max_size = 2**62
