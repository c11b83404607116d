"""What must be settled before Keras and TensorFlow are imported."""

import contextlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import click

# Keras writes this file by itself at its first import, so it says nothing of the user's wishes.
_WRITTEN_BY_KERAS = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def load_keras() -> None:
    """Imports Keras on the backend that the user wants, and TensorFlow without its noise.

    TensorFlow is imported on every backend: keras-hub's tokenizers run on it, and Keras seeds its
    random numbers. Where it is not the backend it is kept off the GPUs, whose memory it would take.
    """
    choose_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    # What TensorFlow logs while it is being imported heeds no variable.
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

    They have if the variable is set, or if their `keras.json` is not as Keras makes it.
    """
    # An empty variable is none to Keras too.
    if not os.environ.get("KERAS_BACKEND") and not _chosen_in_keras_json():
        os.environ["KERAS_BACKEND"] = "torch"


def _chosen_in_keras_json() -> bool:
    folder = os.environ.get("KERAS_HOME") or Path("~", ".keras").expanduser()
    try:
        settings = json.loads(Path(folder, "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and "backend" in settings and settings != _WRITTEN_BY_KERAS


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Closes the process's stderr to C++ code too, which does not write to `sys.stderr`."""
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
