"""What our servers ask of uvicorn, which only they need."""

import socket
from collections.abc import Callable
from typing import Any

import uvicorn

_TO_STDERR = {"handlers": ["stderr"], "propagate": False}

UVICORN_OPTIONS: dict[str, Any] = {
    "lifespan": "on",
    "ws": "none",
    "server_header": False,
    "proxy_headers": False,
    # Results go to stdout, everything else to stderr.
    "log_config": {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "plain",
                "stream": "ext://sys.stderr",
            }
        },
        "loggers": {
            "uvicorn": {**_TO_STDERR, "level": "WARNING"},
            "uvicorn.access": {**_TO_STDERR, "level": "INFO"},
        },
    },
}
"""Arguments of `uvicorn.Config`."""


class TellingServer(uvicorn.Server):
    """A server that tells when it can be reached.

    Args:
        config: The settings.
        tell: Called once the server accepts requests.
    """

    def __init__(self, config: uvicorn.Config, tell: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the server, and tells so."""
        await super().startup(sockets)
        if self.started:
            self._tell()
