"""The ASGI app of the studio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from keras_cmm_runtime.errors import InputError
from keras_cmm_studio.endpoints import routes
from keras_cmm_studio.engine import Engine
from keras_cmm_studio.guard import Guard
from keras_cmm_studio.uploads import RequestError

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""The names by which a machine calls itself."""


def create_app(
    engine: Engine,
    allowed_hosts: tuple[str, ...] | None = LOCAL_NAMES,
    token: str | None = None,
) -> Starlette:
    """Makes the ASGI app of a studio.

    Args:
        engine: The engine, with its project. The app starts and stops it.
        allowed_hosts: Names that the `Host` header may have, or `None` for all.
        token: What each request must bring, or `None`.

    Returns:
        A `starlette.applications.Starlette`.

    Example:
        >>> app = create_app(engine)  # doctest: +SKIP
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # Pillow's limit is one for the process.
        Image.MAX_IMAGE_PIXELS = engine.project.settings.max_pixels
        engine.start()
        yield
        engine.stop()

    app = Starlette(
        routes=routes(),
        lifespan=lifespan,
        middleware=[Middleware(Guard, allowed_hosts=allowed_hosts, token=token)],
        exception_handlers={
            InputError: _refuse_input,
            RequestError: _refuse,
            HTTPException: _refuse_path,
            ClientDisconnect: _note_disconnect,
            Exception: _note_failure,
        },
    )
    app.state.engine = engine
    app.state.project = engine.project
    return app


async def _refuse_input(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": RequestError(422, str(error)).message}, 422)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return JSONResponse({"error": error.message}, error.status)


async def _refuse_path(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _note_disconnect(request: Request, error: Exception) -> JSONResponse:
    """Ends a request whose client has gone."""
    return JSONResponse({"error": "the client has gone."}, 400)


async def _note_failure(request: Request, error: Exception) -> JSONResponse:
    """Answers without details, which the log has."""
    return JSONResponse({"error": "the studio failed; its terminal says why."}, 500)
