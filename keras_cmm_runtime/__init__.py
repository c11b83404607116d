"""What a machine needs that only predicts: no Keras, torch or TensorFlow.

It reads images and lists of them, rates predictions, and runs classifiers that were exported to
ONNX. `keras_cmm` builds on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_cmm_runtime.errors import InputError

if TYPE_CHECKING:
    from keras_cmm_runtime.onnx_classifier import ONNX_FILE, OnnxClassifier

__all__ = ["ONNX_FILE", "InputError", "OnnxClassifier"]


def __getattr__(name: str) -> Any:
    if name in ("ONNX_FILE", "OnnxClassifier"):
        from keras_cmm_runtime import onnx_classifier

        return getattr(onnx_classifier, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
