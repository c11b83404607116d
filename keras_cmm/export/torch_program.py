"""A graph of ONNX as a module of torch, which torch.export and LiteRT take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional as F

from keras_cmm_runtime.errors import InputError

Run = Callable[..., Tensor]


class OnnxModule(torch.nn.Module):
    """A module that computes a graph of `OnnxGraph`.

    It has the operations that these graphs have. The weights are buffers.

    Args:
        model: the model. Its weights must be in it.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        graph = model.graph
        self._input = graph.input[0].name
        self._outputs = [output.name for output in graph.output]
        # Shapes and axes are numbers of the program, weights are tensors.
        self._numbers: dict[str, list[int]] = {}
        for constant in graph.initializer:
            value = numpy_helper.to_array(constant)
            if value.dtype.kind == "i":
                self._numbers[constant.name] = value.tolist()
            else:
                self.register_buffer(constant.name, torch.tensor(value))
        unknown = {node.op_type for node in graph.node}.difference(_OPERATIONS)
        if unknown:
            raise InputError(
                "a model that another library runs is exported to ONNX and OpenVINO only: this "
                f"format has no operation {min(unknown)}."
            )
        self._steps: list[tuple[Run, Sequence[str], str, dict[str, Any]]] = [
            (
                _OPERATIONS[node.op_type],
                list(node.input),
                node.output[0],
                {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute},
            )
            for node in graph.node
        ]

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Returns the outputs of the graph."""
        values: dict[str, Any] = {self._input: inputs, **self._numbers}
        values |= dict(self.named_buffers())
        for run, names, output, attributes in self._steps:
            values[output] = run(*(values[name] for name in names), **attributes)
        return tuple(values[name] for name in self._outputs)


def _reshape(x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


def _slice(x: Tensor, starts: list[int], ends: list[int], axes: list[int]) -> Tensor:
    for start, end, axis in zip(starts, ends, axes, strict=True):
        x = x.narrow(axis, start, end - start)
    return x


def _convolution(x: Tensor, kernel: Tensor, pads: list[int], strides: list[int]) -> Tensor:
    return F.conv2d(x, kernel, stride=strides, padding=pads[:2])


def _batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, *moments: Tensor, epsilon: float) -> Tensor:
    return F.batch_norm(x, moments[0], moments[1], gamma, beta, eps=epsilon)


def _layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, axis: int, epsilon: float) -> Tensor:
    return F.layer_norm(x, gamma.shape, gamma, beta, epsilon)


def _mean(x: Tensor, axes: list[int], keepdims: int) -> Tensor:
    return x.mean(dim=axes, keepdim=bool(keepdims))


def _sum_of_squares(x: Tensor, axes: list[int], keepdims: int) -> Tensor:
    return x.square().sum(dim=axes, keepdim=bool(keepdims))


_OPERATIONS: dict[str, Run] = {
    "Add": torch.add,
    "AveragePool": lambda x, kernel_shape, strides: F.avg_pool2d(x, kernel_shape, strides),
    "BatchNormalization": _batch_norm,
    "Cast": lambda x, to: x.float(),
    "Concat": lambda *parts, axis: torch.cat(parts, dim=axis),
    "Conv": _convolution,
    "Div": torch.div,
    "Gelu": lambda x, approximate: F.gelu(x, approximate=approximate.decode()),
    "Gemm": lambda x, kernel, bias: F.linear(x, kernel.T, bias),
    "Identity": lambda x: x,
    "LayerNormalization": _layer_norm,
    "MatMul": torch.matmul,
    "Max": torch.maximum,
    "Mul": torch.mul,
    "ReduceMean": _mean,
    "ReduceSumSquare": _sum_of_squares,
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": lambda x, axis: torch.softmax(x, dim=axis),
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Transpose": lambda x, perm: x.permute(perm),
}
