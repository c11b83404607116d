"""Settings that must precede the import of Keras and TensorFlow."""

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

NEEDS_KERAS = (
    "needs Keras, which keras-cmm-runtime leaves out; install keras-cmm in its place: "
    "pip uninstall keras-cmm-runtime, then pip install keras-cmm."
)

# Keras imports these where it finds them, for its plots, its wrappers and conversions. No command
# uses those, and the imports take half of Keras's own.
_FOR_PARTS_OF_KERAS = ("jax", "matplotlib", "pandas", "sklearn")

# Keras itself writes this at its first import, so it is no choice of the user.
_WRITTEN_BY_KERAS = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


# How threads wait for each other: for those of torch, of Intel's compilers and of numpy. OpenBLAS
# takes a power of two, in cycles.
_PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}


def wait_passively() -> None:
    """Lets threads that wait for each other sleep, unless the user has chosen how they wait.

    They would run in a loop instead. Beside other work, that takes the core from the thread that
    they wait for, and small products become a hundred times slower. Libraries read this when they
    are loaded, so it must precede the import of numpy and torch. `ACTIVE` as `OMP_WAIT_POLICY`
    brings the loop back.
    """
    if "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ:
        for name, value in _PASSIVE.items():
            os.environ.setdefault(name, value)


def hide_tensorflow() -> None:
    """Makes this process run as if TensorFlow were not installed, unless it is the backend.

    keras-hub and Keras import TensorFlow where they find it, which takes ten seconds and 500 MB,
    and then work without it. Only `load_keras(tensorflow=True)` brings it back. A program that uses
    this package as a library may use keras-hub with TensorFlow, so only the command does this.
    """
    backend = os.environ.get("KERAS_BACKEND") or _chosen_in_keras_json()
    if "tensorflow" not in sys.modules and backend != "tensorflow":
        # Python then says that there is no such module.
        sys.modules["tensorflow"] = None  # type: ignore[assignment]


def load_keras(tensorflow: bool = False) -> None:
    """Imports Keras on the user's backend.

    Args:
        tensorflow: Whether TensorFlow is needed too, as by tensorflow-datasets. Where it is not the
            backend, it must not take the memory of the GPUs.

    Raises:
        ClickException: If only the runtime is installed, or Keras cannot be loaded.
    """
    if importlib.util.find_spec("keras_cmm") is None:
        raise click.ClickException(f"this {NEEDS_KERAS}")
    choose_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if tensorflow and sys.modules.get("tensorflow", "absent") is None:
        del sys.modules["tensorflow"]

    # No variable silences what TensorFlow logs while it is imported.
    with _no_stderr():
        try:
            with _hidden(_FOR_PARTS_OF_KERAS):
                import keras
        except (ImportError, ValueError) as error:
            raise click.ClickException(
                f"Keras cannot be loaded ({error}); set KERAS_BACKEND to torch, jax or tensorflow, "
                "whichever is installed."
            ) from error
        if tensorflow and importlib.util.find_spec("tensorflow") is not None:
            import tensorflow as tf

            if keras.backend.backend() != "tensorflow":
                tf.config.set_visible_devices([], "GPU")


def choose_backend() -> None:
    """Sets `KERAS_BACKEND` to torch, unless the user has chosen a backend.

    The variable is such a choice, and so is a `keras.json` that differs from the one Keras writes.
    """
    # Keras ignores an empty variable too.
    if not os.environ.get("KERAS_BACKEND") and _chosen_in_keras_json() is None:
        os.environ["KERAS_BACKEND"] = "torch"


def _chosen_in_keras_json() -> Any:
    folder = os.environ.get("KERAS_HOME") or Path("~", ".keras").expanduser()
    try:
        settings = json.loads(Path(folder, "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(settings, dict) or settings == _WRITTEN_BY_KERAS:
        return None
    return settings.get("backend")


@contextlib.contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    """Makes what is imported inside run as if packages were not installed.

    Those that are imported already, and the backend, are left as they are.
    """
    backend = os.environ.get("KERAS_BACKEND") or _chosen_in_keras_json()
    hidden = [name for name in names if name not in sys.modules and name != backend]
    # Python then says that there is no such module.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


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
