"""Running a backbone forward only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops


@contextmanager
def inference_mode() -> Iterator[None]:
    """Keeps torch from recording gradients; the other backends record none outside training."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.inference_mode():
        yield


def runs_on_cpu(backbone: Any) -> bool:
    """Returns whether a backbone's weights lie in the memory of the CPU, as far as Keras tells."""
    device = getattr(backbone.weights[0].value, "device", "") if backbone.weights else ""
    return "cpu" in str(device).lower()


def unit_rows(embeddings: Any) -> npt.NDArray[np.float32]:
    """Returns a tensor `(n, dim)` as a float32 array on the CPU, its rows of unit length."""
    rows = np.array(ops.convert_to_numpy(ops.cast(embeddings, "float32")))
    return normalized(rows)


def normalized(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns the rows at unit length."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype="float32")
