"""Making an encoder in a worker."""

from __future__ import annotations

from dataclasses import dataclass

from keras_cmm.clip import Encoder, KerasHubEncoder, load
from keras_cmm_runtime.errors import InputError


@dataclass(frozen=True)
class KerasEncoder:
    """Makes the encoder of a model in each worker, and can be sent there.

    On a CPU ONNX Runtime runs it where it can, and Keras elsewhere. Nothing is measured, so all
    workers run the same.

    Args:
        source: What `keras_cmm.clip.load` takes.
        dtype: dtype of the backbone, or `None`.

    Example:
        >>> KerasEncoder("emoji_clip_tiny")().dim  # doctest: +SKIP
        192
    """

    source: str
    dtype: str | None = None

    def __call__(self) -> Encoder:
        """Loads the model."""
        model = load(self.source, dtype=self.dtype)
        try:
            return KerasHubEncoder(model, engine="onnx")
        except InputError:  # There is no graph for it, or it runs on a GPU.
            return KerasHubEncoder(model, engine="keras")
