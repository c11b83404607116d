"""Settings that must precede the import of Keras and TensorFlow."""

import contextlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import click

NEEDS_KERAS = (
    "needs Keras, which keras-cmm-runtime leaves out; install keras-cmm in its place: "
    "pip uninstall keras-cmm-runtime, then pip install keras-cmm."
)

# Keras itself writes this at its first import, so it is no choice of the user.
_WRITTEN_BY_KERAS = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def load_keras() -> None:
    """Imports Keras on the user's backend, and TensorFlow without its log messages.

    TensorFlow is imported on every backend: keras-hub's tokenizers run on it, and Keras seeds its
    random numbers. Where it is not the backend, it must not take the memory of the GPUs.

    Raises:
        ClickException: If only the runtime is installed, or Keras cannot be loaded.
    """
    if importlib.util.find_spec("keras_cmm") is None:
        raise click.ClickException(f"this {NEEDS_KERAS}")
    choose_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    # No variable silences what TensorFlow logs while it is imported.
    with _no_stderr():
        try:
            import keras
        except (ImportError, ValueError) as error:
            raise click.ClickException(
                f"Keras cannot be loaded ({error}); set KERAS_BACKEND to torch, jax or tensorflow, "
                "whichever is installed."
            ) from error
        if has_tensorflow:
            import tensorflow
    if has_tensorflow and keras.backend.backend() != "tensorflow":
        tensorflow.config.set_visible_devices([], "GPU")


def choose_backend() -> None:
    """Sets `KERAS_BACKEND` to torch, unless the user has chosen a backend.

    The variable is such a choice, and so is a `keras.json` that differs from the one Keras writes.
    """
    # Keras ignores an empty variable too.
    if not os.environ.get("KERAS_BACKEND") and not _chosen_in_keras_json():
        os.environ["KERAS_BACKEND"] = "torch"


def _chosen_in_keras_json() -> bool:
    folder = os.environ.get("KERAS_HOME") or Path("~", ".keras").expanduser()
    try:
        settings = json.loads(Path(folder, "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(settings, dict) and "backend" in settings and settings != _WRITTEN_BY_KERAS


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Silences stderr for C++ code too, which does not use `sys.stderr`."""
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
