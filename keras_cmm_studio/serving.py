"""Running the studio."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable

import uvicorn

from keras_cmm_runtime.utils import bound_socket, is_loopback
from keras_cmm_runtime.utils.telling_server import UVICORN_OPTIONS, TellingServer
from keras_cmm_studio.app import LOCAL_NAMES, create_app
from keras_cmm_studio.engine import Engine

_GRACE = 5  # Seconds for requests in work when the studio is told to stop.


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
    with contextlib.closing(bound_socket(host, port)) as listener:
        port = listener.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        is_local = is_loopback(host)
        token = None if is_local else secrets.token_urlsafe(32)
        hosts = tuple(dict.fromkeys([*LOCAL_NAMES, name.lower()])) if is_local else None
        address = f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")
        config = uvicorn.Config(
            create_app(engine, hosts, token),
            **UVICORN_OPTIONS,
            access_log=False,
            timeout_graceful_shutdown=_GRACE,
        )
        TellingServer(config, lambda: tell(address)).run([listener])
