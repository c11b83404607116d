"""Running the server."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from keras_cmm_runtime import OnnxClassifier
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import bound_socket, is_loopback, warn
from keras_cmm_runtime.utils.telling_server import UVICORN_OPTIONS, TellingServer
from keras_cmm_server.app import create_app
from keras_cmm_server.server_metrics import METRICS_FOLDER
from keras_cmm_server.server_settings import ServerSettings
from keras_cmm_server.worker import WORKER_VARIABLE

_KEEP_ALIVE = 75  # Seconds, more than load balancers and clients keep idle connections.


def serve(
    model: str | os.PathLike[str],
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    name: str | None = None,
    settings: ServerSettings | None = None,
    log_requests: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Serves a classifier until SIGTERM or Ctrl-C; then it finishes the requests in work.

    Args:
        model: What `OnnxClassifier.load` takes: the folder of a model, or its `classifier.onnx`.
        host: The address to listen at. Only `127.0.0.1`, `::1` and `localhost` keep other machines
            out.
        port: The port, 0 for any that is free.
        workers: Processes. Each has the whole model in memory.
        name: The model's name in the paths of the Open Inference Protocol, by default that of the
            folder.
        settings: The limits, by default those of `ServerSettings()`.
        log_requests: Whether each request is logged to stderr.
        tell: It gets the lines that tell the user where the server is.

    Raises:
        InputError: If the model cannot be loaded, the address cannot be used, or an argument is out
            of range.

    Example:
        >>> serve("my_model", port=8080)  # doctest: +SKIP
    """
    if not isinstance(workers, int) or workers < 1:
        raise InputError(f"`workers` must be an int >= 1. Received: {workers=}")
    settings = settings or ServerSettings()
    name = _checked_name(model, name)
    # A damaged model is told of before any worker starts.
    classifier = OnnxClassifier.load(model)
    with contextlib.closing(bound_socket(host, port)) as listener:
        listener.set_inheritable(True)  # by the workers
        port = listener.getsockname()[1]
        where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        what = f"Serving {name} ({len(classifier.class_names):,} classes) at {where}"
        if not is_loopback(host):
            warn(
                f"{host} is not loopback, so other machines can reach this server. It asks for no "
                "password and does not encrypt."
            )
        common: dict[str, Any] = {
            **UVICORN_OPTIONS,
            "access_log": log_requests,
            "timeout_keep_alive": _KEEP_ALIVE,
            "timeout_graceful_shutdown": max(1, round(settings.grace)),
        }
        if workers == 1:
            app = create_app(classifier, name, settings)
            config = uvicorn.Config(app, **common)
            TellingServer(config, lambda: tell(f"{what} (Ctrl-C stops)")).run([listener])
            return
        del classifier  # the workers have their own
        path = "keras_cmm_server.worker:create_worker_app"
        config = uvicorn.Config(path, factory=True, workers=workers, **common)
        with _told(Path(model), name, settings, workers):
            tell(f"{what} with {workers} workers (Ctrl-C stops)")
            _Workers(config, [listener]).run()


class _Workers(Multiprocess):
    """Worker processes that share a listening socket."""

    def terminate_all(self) -> None:
        # As long as one process holds it, the system accepts connections that nobody answers.
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def keep_subprocess_alive(self) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        for process in self.processes:
            if process.exitcode is not None:
                mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
        super().keep_subprocess_alive()


@contextlib.contextmanager
def _told(model: Path, name: str, settings: ServerSettings, workers: int) -> Iterator[None]:
    """Tells the workers, through their environment, what to serve and where to count."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    content = {
        "model": str(model.resolve()),
        "name": name,
        "settings": dataclasses.asdict(settings),
        "threads": threads,
    }
    with tempfile.TemporaryDirectory(prefix="keras-cmm-metrics-") as folder:
        told = {WORKER_VARIABLE: json.dumps(content), METRICS_FOLDER: folder}
        before = {variable: os.environ.get(variable) for variable in told}
        os.environ |= told
        try:
            yield
        finally:
            for variable, value in before.items():
                if value is None:
                    del os.environ[variable]
                else:
                    os.environ[variable] = value


def _checked_name(model: str | os.PathLike[str], name: str | None) -> str:
    if name is None:
        path = Path(model).resolve()
        name = (path if path.is_dir() else path.parent).name or "classifier"
    if not name or not name.isprintable() or "/" in name or name in (".", ".."):
        raise InputError(
            "`name` must be printable and without slashes, since it is part of paths. "
            f"Received: {name=}"
        )
    return name
