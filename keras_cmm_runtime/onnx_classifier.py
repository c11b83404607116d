"""A classifier in ONNX (stand-in until branch `export` is merged)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImagePreprocessor


class OnnxClassifier:
    """A classifier in ONNX."""

    def __init__(self, session: Any, digest: str) -> None:
        self._session = session
        self.digest = digest
        content = json.loads(session.get_modelmeta().custom_metadata_map["keras_cmm"])
        self.class_names = content["class_names"]
        self.preprocessor = ImagePreprocessor(**content["preprocessing"])
        self.temperature = content["temperature"]

    @classmethod
    def load(cls, path: Any) -> OnnxClassifier:
        import onnxruntime

        path = Path(path)
        path = path / "classifier.onnx" if path.is_dir() else path
        try:
            data = path.read_bytes()
            session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"{path}: cannot be read ({error}).") from error
        return cls(session, hashlib.sha256(data).hexdigest())

    def predict_pixels(self, pixels: Any) -> Any:
        return self._session.run(["logits"], {"pixels": pixels})[0]

    def probabilities(self, logits: Any) -> Any:
        scaled = logits / self.temperature
        values = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        return values / values.sum(axis=-1, keepdims=True)

    def predict(self, images: Iterable, batch_size: int = 16) -> Any:
        pixels = [self.preprocessor.pixels(image) for image in images]
        starts = range(0, len(pixels), batch_size)
        return np.concatenate(
            [self.predict_pixels(np.stack(pixels[start : start + batch_size])) for start in starts]
        )
