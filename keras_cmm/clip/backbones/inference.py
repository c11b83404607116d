"""Running a backbone for inference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm_runtime.utils.unit_rows import unit_rows


@contextmanager
def inference_mode() -> Iterator[None]:
    """Stops torch from recording gradients. Other backends record none outside training."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.inference_mode():
        yield


def runs_on_cpu(backbone: Any) -> bool:
    """Returns whether the weights of a backbone are on the CPU, as far as Keras says."""
    device = getattr(backbone.weights[0].value, "device", "") if backbone.weights else ""
    return "cpu" in str(device).lower()


def runs_on_cuda(backbone: Any) -> bool:
    """Returns whether torch runs a backbone on a CUDA GPU."""
    weights = backbone.weights if keras.backend.backend() == "torch" else []
    return bool(weights) and weights[0].value.device.type == "cuda"


def as_unit_rows(embeddings: Any) -> npt.NDArray[np.float32]:
    """Returns a tensor `(n, dim)` as a float32 array with rows of unit length."""
    return unit_rows(ops.convert_to_numpy(ops.cast(embeddings, "float32")))
