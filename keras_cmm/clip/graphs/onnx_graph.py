"""Graphs of ONNX, put together operation by operation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
# The format of ONNX that came with that opset; ONNX Runtime refuses files that are newer than it.
_IR_VERSION = 9
# A protobuf message has at most 2 GiB.
_LARGEST_FILE = 2**31 - 2**20
# Constants of fewer bytes, such as shapes, are always in the model.
_SMALL = 1024


class OnnxGraph:
    """A graph of ONNX under construction.

    A call adds an operation. Tensors are known by their names.

    Args:
        name: the name of the input.
        dtype: its dtype.
        shape: its shape; a str is a dimension of any length.
        fused_biases: bool. Whether products add their biases themselves.
        weights_apart: bool. Whether large constants stay out of the model, in `weights`, by name.
            ONNX Runtime takes them beside it, without a copy and of any size.

    Example:
        >>> graph = OnnxGraph("rows", "float32", ("batch", 2))
        >>> doubled = graph("Mul", "rows", graph.constant(np.float32(2)))
        >>> model = graph.model({"doubled": (doubled, ("batch", 2))})
        >>> [output.name for output in model.graph.output]
        ['doubled']
    """

    def __init__(
        self,
        name: str,
        dtype: str,
        shape: Sequence[int | str],
        fused_biases: bool = True,
        weights_apart: bool = False,
    ) -> None:
        self.fused_biases = fused_biases
        self.weights: dict[str, npt.NDArray[Any]] = {}
        self._weights_apart = weights_apart
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._input = helper.make_tensor_value_info(name, kind, list(shape))
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: npt.ArrayLike) -> str:
        """Adds a constant tensor; returns its name."""
        name = f"constant_{len(self._constants)}"
        array = np.ascontiguousarray(value)
        if not self._weights_apart or array.nbytes < _SMALL:
            self._constants.append(numpy_helper.from_array(array, name))
            return name
        self.weights[name] = array
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, dims=array.shape, data_type=kind)
        tensor.data_location = TensorProto.EXTERNAL
        # There is no file: whoever opens the model gives the values.
        tensor.external_data.add(key="location", value=name)
        self._constants.append(tensor)
        return name

    def __call__(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Adds an operation of one output; returns the name of the output."""
        name = f"{operation.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, list(inputs), [name], name, **attributes))
        return name

    def add(self, model: onnx.ModelProto, inputs: Mapping[str, str]) -> list[str]:
        """Adds all operations of a model.

        Args:
            model: the model, of the opset of this graph.
            inputs: for each input of the model the tensor that takes its place.

        Returns:
            The names of its outputs.

        Raises:
            ValueError: if it has operations that are not of ONNX's own opset of this graph.
        """
        opsets = {each.domain: each.version for each in model.opset_import}
        used = {node.domain for node in model.graph.node}
        if model.functions or used - {"", "ai.onnx"} or opsets.get("") != OPSET:
            raise ValueError(f"the operations must be of ONNX's opset {OPSET}. Received: {opsets}")
        prefix = f"part_{len(self._nodes)}_"
        names = {"": "", **inputs}
        for constant in model.graph.initializer:
            copy = TensorProto()
            copy.CopyFrom(constant)
            copy.name = names[constant.name] = f"{prefix}{constant.name}"
            self._constants.append(copy)
        for number, node in enumerate(model.graph.node):
            if any(each.type in (5, 10) for each in node.attribute):
                raise ValueError(f"the operation {node.op_type} holds a graph of its own")
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{prefix}{number}_{node.op_type.lower()}"
            names |= {name: f"{prefix}{name}" for name in node.output if name}
            copy.input[:] = [names[name] for name in node.input]
            copy.output[:] = [names[name] for name in node.output]
            self._nodes.append(copy)
        return [names[output.name] for output in model.graph.output]

    def reshape(self, tensor: str, *shape: int) -> str:
        """Reshapes a tensor."""
        return self("Reshape", tensor, self.constant(np.array(shape, "int64")))

    def model(self, outputs: Mapping[str, tuple[str, Sequence[int | str]]]) -> onnx.ModelProto:
        """Returns the model.

        Args:
            outputs: the name of each output, and the tensor and the shape that it has.
        """
        nodes = [
            helper.make_node("Identity", [tensor], [name], name)
            for name, (tensor, _) in outputs.items()
        ]
        infos = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
            for name, (_, shape) in outputs.items()
        ]
        graph = helper.make_graph(
            [*self._nodes, *nodes], "keras_cmm", [self._input], infos, self._constants
        )
        return helper.make_model(
            graph,
            producer_name="keras-cmm",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )


def write_onnx(model: onnx.ModelProto, path: Path, description: Mapping[str, Any]) -> None:
    """Writes a model.

    Weights of more than 2 GB lie beside it in a file of the same name and the ending `.data`.

    Args:
        model: the model, whose large constants move to that file.
        path: the file.
        description: what the metadata say under `keras_cmm`, as JSON.
    """
    model.producer_name = "keras-cmm"  # `onnxruntime.quantization` writes its own
    helper.set_model_props(model, {"keras_cmm": json.dumps(description)})
    if model.ByteSize() < _LARGEST_FILE:
        path.write_bytes(model.SerializeToString())
        return
    onnx.save_model(
        model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024
    )
