"""`keras-cmm serve`: a classifier over HTTP."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from keras_cmm_cli.model_path import ModelPath
from keras_cmm_cli.options import unused_seed_option
from keras_cmm_cli.saved_model import fetched
from keras_cmm_cli.terminal import Terminal, with_terminal

_PACKAGES = ("onnxruntime", "prometheus_client", "python_multipart", "starlette", "uvicorn")


@click.command(
    epilog="""\b
Examples:
  keras-cmm serve my_model
  curl --data-binary @cat.jpg http://127.0.0.1:8000/predict
  keras-cmm serve my_model --host 0.0.0.0 --workers 4
"""
)
@click.argument("model", type=ModelPath(files=True))
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at. The default keeps other machines out, 0.0.0.0 lets all in.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8000,
    show_default=True,
    help="Port to listen at, 0 for any that is free.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes, each with the whole model in memory.",
)
@click.option("--name", help="Name of the model in paths. [default: that of its folder]")
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="A further name that the Host header may have, as of a proxy. May be repeated. [default: "
    "localhost only if that is the --host, else all]",
)
@click.option(
    "--max-batch-size",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Images of one pass through the model.",
)
@click.option(
    "--max-delay",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="MILLISECONDS",
    help="How long an image waits for others to fill its batch.",
)
@click.option(
    "--max-queue",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Images in a worker at once; more are refused with 429.",
)
@click.option(
    "--max-images",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Images of one request; more are refused with 413.",
)
@click.option(
    "--max-body",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="MIB",
    help="Size of one request; more is refused with 413.",
)
@click.option(
    "--max-megapixels",
    type=click.FloatRange(min=0, min_open=True),
    default=50.0,
    show_default=True,
    help="Pixels of one image, in millions; more are refused with 413.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For a request to arrive (else 408), and for its answer (else 504).",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For requests to finish after SIGTERM or Ctrl-C.",
)
@click.option("--log-requests", is_flag=True, help="Log each request to stderr.")
@unused_seed_option
@with_terminal
def serve(
    terminal: Terminal,
    /,
    model: Path | str,
    host: str,
    port: int,
    workers: int,
    name: str | None,
    allow_host: tuple[str, ...],
    log_requests: bool,
    **limits: Any,
) -> None:
    """Serve MODEL, a model folder of `fit` or an ONNX file of `export`, over HTTP.

    POST /predict takes image files. /v2 is the Open Inference Protocol, which the clients of KServe
    and Triton speak. /metrics is for Prometheus, /openapi.json describes all.

    SIGTERM and Ctrl-C let requests in work finish, and end with exit code 0.
    """
    _check_packages()
    from keras_cmm_runtime.utils import is_loopback
    from keras_cmm_server import serve as run

    settings = _settings(host, allow_host, is_loopback(host), **limits)
    if isinstance(model, str):
        name = name or model.rpartition("/")[2].partition("@")[0]
    folder = fetched(model, whole=False)
    # uvicorn mostly raises a signal again after it has stopped, but not always.
    with contextlib.suppress(KeyboardInterrupt):
        run(folder, host, port, workers, name, settings, log_requests, terminal.note)
    terminal.note("Stopped.")


def _settings(
    host: str,
    allow_host: tuple[str, ...],
    is_local: bool,
    max_body: int,
    max_delay: float,
    max_megapixels: float,
    **limits: Any,
) -> Any:
    from keras_cmm_server import LOCAL_NAMES, ServerSettings

    # The Host header of a request to an address that all may reach can have any name.
    allowed = None
    if is_local or allow_host:
        given = [f"[{each}]" if each.count(":") > 1 else each for each in (host, *allow_host)]
        allowed = tuple(dict.fromkeys([*LOCAL_NAMES, *(each.lower() for each in given)]))
    return ServerSettings(
        max_body_bytes=max_body * 2**20,
        max_pending_bytes=max(max_body, 256) * 2**20,
        max_delay=max_delay / 1000,
        max_pixels=max(1, round(max_megapixels * 1e6)),
        allowed_hosts=allowed,
        **limits,
    )


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"{missing[0]} is not installed; install the server by "
            "`pip install 'keras-cmm[serve]'`."
        )
