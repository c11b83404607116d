"""Running the studio."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Callable

import uvicorn

from keras_cmm_runtime.errors import InputError
from keras_cmm_studio.app import LOCAL_NAMES, create_app
from keras_cmm_studio.engine import Engine

_GRACE = 5  # Seconds for requests in work when the studio is told to stop.

_LOGGING = {
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
    "loggers": {"uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False}},
}


def run_studio(
    engine: Engine,
    host: str = "127.0.0.1",
    port: int = 8400,
    tell: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves the page until SIGTERM or Ctrl-C.

    Args:
        engine: The engine, with its project.
        host: The address to listen at. At another one than loopback each request needs a token,
            which is in the address that `tell` gets.
        port: The port, 0 for any that is free.
        tell: It gets the address of the page, once it can be opened.

    Raises:
        InputError: If the address cannot be used.
    """
    with contextlib.closing(_bound(host, port)) as listener:
        port = listener.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        is_local = _is_loopback(host)
        token = None if is_local else secrets.token_urlsafe(32)
        hosts = tuple(dict.fromkeys([*LOCAL_NAMES, name.lower()])) if is_local else None
        address = f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")
        config = uvicorn.Config(
            create_app(engine, hosts, token),
            log_config=_LOGGING,
            access_log=False,
            lifespan="on",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE,
        )
        _Server(config, lambda: tell(address)).run([listener])


class _Server(uvicorn.Server):
    """A server that tells when it can be reached."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _bound(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound to an address."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"`host` {host!r} is no address of this machine ({error}).") from error
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen at {host} on port {port} ({reason}); give another --port or --host."
        ) from error
    return listener
