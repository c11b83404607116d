"""The ASGI app."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keras_cmm_server import protocol_endpoints as protocol
from keras_cmm_server.inference_service import InferenceService
from keras_cmm_server.observed import Observed
from keras_cmm_server.openapi import openapi_schema
from keras_cmm_server.predict_endpoint import predict
from keras_cmm_server.request_error import RequestError
from keras_cmm_server.server_metrics import METRICS_TYPE, ServerMetrics
from keras_cmm_server.server_settings import ServerSettings

if TYPE_CHECKING:
    from keras_cmm_runtime import OnnxClassifier

_log = logging.getLogger("keras_cmm_server")


def create_app(
    classifier: OnnxClassifier, name: str = "classifier", settings: ServerSettings | None = None
) -> Starlette:
    """Makes the ASGI app that serves a classifier.

    Any ASGI server can run it; `serve` uses uvicorn.

    Args:
        classifier: The model.
        name: Its name in the paths of the Open Inference Protocol.
        settings: The limits, by default those of `ServerSettings()`.

    Returns:
        A `starlette.applications.Starlette`.

    Example:
        >>> from keras_cmm_runtime import OnnxClassifier
        >>> classifier = OnnxClassifier.load("my_model")  # doctest: +SKIP
        >>> app = create_app(classifier, "my_model")  # doctest: +SKIP
    """
    settings = settings or ServerSettings()
    metrics = ServerMetrics()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service = InferenceService(classifier, settings, metrics)
        app.state.service = service
        await service.start()
        yield
        await service.stop()

    app = Starlette(
        routes=_routes(),
        lifespan=lifespan,
        middleware=[Middleware(Observed, metrics=metrics, allowed_hosts=settings.allowed_hosts)],
        exception_handlers={
            RequestError: _refuse,
            HTTPException: _refuse_path,
            ClientDisconnect: _note_disconnect,
            Exception: _note_failure,
        },
    )
    app.state.name = name
    app.state.metrics = metrics
    app.state.schema = openapi_schema(classifier, name)
    return app


def _routes() -> list[Route]:
    routes = [
        Route("/v2", protocol.server_metadata),
        Route("/v2/health/live", protocol.live),
        Route("/v2/health/ready", protocol.ready),
    ]
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        routes += [
            Route(model, protocol.model_metadata),
            Route(f"{model}/ready", protocol.model_ready),
            Route(f"{model}/infer", protocol.infer, methods=["POST"]),
        ]
    return [
        *routes,
        Route("/predict", predict, methods=["POST"]),
        Route("/metrics", _metrics),
        Route("/openapi.json", _schema),
    ]


async def _metrics(request: Request) -> Response:
    return Response(request.app.state.metrics.text(), media_type=METRICS_TYPE)


async def _schema(request: Request) -> JSONResponse:
    return JSONResponse(request.app.state.schema)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return JSONResponse({"error": error.message}, error.status, error.headers)


async def _refuse_path(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    messages = {
        404: "there is no such path; GET /openapi.json lists those there are.",
        405: f"{request.method} is not taken here.",
    }
    message = messages.get(error.status_code, error.detail)
    return JSONResponse({"error": message}, error.status_code, error.headers)


async def _note_disconnect(request: Request, error: Exception) -> JSONResponse:
    """Ends a request whose client has gone. Nobody reads the answer, but the metrics count it."""
    return JSONResponse({"error": "the client has gone."}, 400)


async def _note_failure(request: Request, error: Exception) -> JSONResponse:
    """Answers without details, which the log has: they may hold paths of the server."""
    return JSONResponse({"error": "the server failed; its log says why."}, 500)
