"""Reading the bodies of requests, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from keras_cmm_server.inference_service import InferenceService
from keras_cmm_server.request_error import RequestError

_MAX_FIELDS = 8


@asynccontextmanager
async def request_body(request: Request, service: InferenceService) -> AsyncIterator[bytes]:
    """Yields the body of a request, whose bytes count as held until the block ends.

    Raises:
        RequestError: If it is too large (413), does not arrive in time (408), is compressed (415),
            or if the server holds too much already (429).
    """
    settings = service.settings
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RequestError(415, "compressed bodies are not taken; send it without compression.")
    too_large = RequestError(
        413, f"the body is too large; this server takes at most {settings.max_body_bytes:,} bytes."
    )
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > settings.max_body_bytes:
        raise too_large
    body = bytearray()
    try:
        try:
            async with asyncio.timeout(settings.timeout):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > settings.max_body_bytes:
                        raise too_large
                    service.backlog.add_bytes(len(chunk))
                    body += chunk
        except TimeoutError:
            service.metrics.refused.labels("body timeout").inc()
            raise RequestError(
                408, f"the body did not arrive within {settings.timeout:g} s."
            ) from None
        yield bytes(body)
    finally:
        service.backlog.remove_bytes(len(body))


@asynccontextmanager
async def parsed_form(request: Request, body: bytes, max_files: int) -> AsyncIterator[FormData]:
    """Yields the fields and files of a multipart body.

    Args:
        request: The request, for its headers.
        body: Its body.
        max_files: The most files.

    Raises:
        RequestError: If it cannot be parsed (400), or has too many files (413).
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    # One more than is taken, so that the error can say what was expected.
    parser = _InMemoryParser(
        request.headers, stream(), max_files=max_files + 1, max_fields=_MAX_FIELDS
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise RequestError(
                413, f"the form has too many files; this server takes at most {max_files}."
            ) from None
        raise RequestError(400, f"the form cannot be read: {error.message}") from None
    try:
        yield form
    finally:
        await form.close()


class _InMemoryParser(MultiPartParser):
    """A parser that writes no uploads to the disk: the body is in memory already."""

    spool_max_size = 2**62
