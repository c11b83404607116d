"""Counting and timing requests, and refusing foreign names of the server."""

from __future__ import annotations

import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keras_cmm_server.server_metrics import ServerMetrics

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Observed:
    """An ASGI app whose requests are counted and timed.

    Args:
        app: The app.
        metrics: Where they are counted.
        allowed_hosts: Names that the `Host` header may have, or `None` for all.
    """

    def __init__(
        self, app: ASGIApp, metrics: ServerMetrics, allowed_hosts: tuple[str, ...] | None
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app on one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        app = self._app if self._is_allowed(scope) else _foreign_host
        try:
            await app(scope, receive, send_and_note)
        finally:
            # Paths and methods come from clients: each new one would be a new time series.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(time.perf_counter() - start)

    def _is_allowed(self, scope: Scope) -> bool:
        if self._allowed_hosts is None:
            return True
        name, _, port = Headers(scope=scope).get("host", "").lower().rpartition(":")
        if not port.isdecimal():  # no port, or the end of an IPv6 address
            name = f"{name}:{port}" if name else port
        return name in self._allowed_hosts


_foreign_host = JSONResponse(
    {
        "error": "the Host header names another server; use the address that the server was "
        "started with, or start it with --allow-host NAME."
    },
    status_code=421,
)
