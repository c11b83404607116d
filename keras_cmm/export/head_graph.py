"""The head as a graph of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.clip.graphs import OnnxGraph, value
from keras_cmm.layers import CrossModalMapping
from keras_cmm_runtime.errors import InputError

# Of `keras_cmm.layers`: a vector shorter than this is multiplied by its inverse.
_EPSILON = 1e-6


def add_head(graph: OnnxGraph, embeddings: str, head: Any) -> tuple[str, str]:
    """Adds a `CMMClassifier` to a graph.

    Args:
        graph: the graph.
        embeddings: `(batch, dim)`.
        head: the classifier.

    Returns:
        Logits and probabilities, `(batch, classes)`.

    Raises:
        InputError: if the mapping is another layer than `CrossModalMapping`.
    """
    if head.also_dim:
        raise InputError(
            "a classifier with a second encoder cannot be exported, because an exported file holds "
            f"one encoder. Received: also_dim={head.also_dim}"
        )
    if type(head.mapping) is not CrossModalMapping:
        raise InputError(
            "only a classifier whose mapping is a `CrossModalMapping` can be exported. "
            f"Received: a mapping of the class {type(head.mapping).__name__}"
        )
    similarities = _cosines(
        graph, _mapped(graph, embeddings, head.mapping), _unit(value(head.prototypes.embeddings))
    )
    clip = _cosines(graph, embeddings, value(head.text_prototypes.embeddings))
    clip = _times(graph, clip, head.clip_weight)
    logits = graph("Add", clip, _times(graph, similarities, head.alpha))
    logits = _times(graph, logits, head.logit_scale)
    temperature = graph.constant(np.float32(head.temperature))
    return logits, graph("Softmax", graph("Div", logits, temperature), axis=-1)


def _mapped(graph: OnnxGraph, embeddings: str, mapping: CrossModalMapping) -> str:
    kernels = [mapping.kernel] if mapping.rank is None else [mapping.down_kernel, mapping.up_kernel]
    mapped = embeddings
    for kernel in kernels:
        mapped = graph("MatMul", mapped, graph.constant(value(kernel)))
    if mapping.use_bias:
        mapped = graph("Add", mapped, graph.constant(value(mapping.bias)))
    if mapping.residual:
        mapped = graph("Add", embeddings, mapped)
    return unit_length(graph, mapped) if mapping.normalize else mapped


def _cosines(graph: OnnxGraph, rows: str, prototypes: npt.NDArray[np.float32]) -> str:
    return graph("MatMul", unit_length(graph, rows), graph.constant(prototypes.T))


def unit_length(graph: OnnxGraph, rows: str) -> str:
    """Adds what scales rows, `(batch, dim)`, to unit length."""
    squares = graph("ReduceSumSquare", rows, graph.constant(np.array([-1])), keepdims=1)
    squares = graph("Max", squares, graph.constant(np.float32(_EPSILON**2)))
    return graph("Div", rows, graph("Sqrt", squares))


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.sqrt(np.square(rows).sum(axis=-1, keepdims=True))
    return rows / np.maximum(lengths, np.float32(_EPSILON))


def _times(graph: OnnxGraph, tensor: str, factor: float) -> str:
    return graph("Mul", tensor, graph.constant(np.float32(factor)))
