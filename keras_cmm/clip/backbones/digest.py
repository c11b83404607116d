"""Digests that tell whether two backbones give the same embeddings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from keras import ops

# Parts of a config that do not change the embeddings.
_IRRELEVANT = frozenset({"name", "trainable", "build_config", "shared_object_id"})
_SAMPLES = 16


class ModelDigest:
    """Digests of a backbone's architecture and weights.

    Hashing all weights of a large model takes a second. It is therefore done again only if a sample
    of some weight has changed. Training steps, merges and loaded weights all change it.

    Args:
        backbone: The backbone.
    """

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone
        self._sample = b""
        self._weights = ""

    def __call__(self) -> dict[str, str]:
        """Returns the current digests by name: `architecture` and `weights`."""
        sample = _sample(self._backbone.weights)
        if sample != self._sample:
            self._sample, self._weights = sample, _digest(self._backbone.weights)
        return {
            "architecture": self.architecture(),
            "weights": self._weights,
        }

    def architecture(self) -> str:
        """Returns the digest of the architecture alone."""
        config = json.dumps(_relevant(self._backbone.get_config()), sort_keys=True, default=repr)
        architecture = f"{type(self._backbone).__name__} {config}"
        return hashlib.sha256(architecture.encode()).hexdigest()


def _relevant(config: Any) -> Any:
    if isinstance(config, dict):
        # The config of a dtype policy holds only its name, so it is kept whole.
        return {
            key: value if key == "dtype" else _relevant(value)
            for key, value in config.items()
            if key not in _IRRELEVANT
        }
    return [_relevant(part) for part in config] if isinstance(config, list | tuple) else config


def _digest(weights: Sequence[Any]) -> str:
    def digest(weight: Any) -> bytes:
        values = np.ascontiguousarray(ops.convert_to_numpy(weight))
        head = f"{weight.dtype} {values.dtype} {values.shape} ".encode()
        return hashlib.sha256(head + hashlib.sha256(values.view("uint8").data).digest()).digest()

    # hashlib releases Python's global lock, so the threads hash at the same time.
    with ThreadPoolExecutor() as pool:
        return hashlib.sha256(b"".join(pool.map(digest, weights))).hexdigest()


def _sample(weights: Sequence[Any]) -> bytes:
    """Returns a few evenly spaced numbers of each weight, without copying the others."""
    parts = []
    for weight in weights:
        values = ops.reshape(ops.convert_to_tensor(weight), (-1,))
        step = max(1, values.shape[0] // _SAMPLES)
        parts.append(ops.cast(values[::step][:_SAMPLES], "float32"))
    if not parts:
        return b"none"
    return bytes(ops.convert_to_numpy(ops.concatenate(parts)).tobytes())
