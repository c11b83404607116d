"""A small classifier as ONNX, made without Keras: a class is the mean of a colour."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 4


def make_onnx(path, scale=1.0, description=(), change=None):
    """Writes it; `description=None` leaves out the metadata, `change` updates them."""
    constants = {"axes": np.array([1, 2]), "scale": np.float32(scale / 25), "heat": np.float32(2)}
    nodes = [
        ("Cast", ["pixels"], "floats", {"to": TensorProto.FLOAT}),
        ("ReduceMean", ["floats", "axes"], "means", {"keepdims": 0}),
        ("Mul", ["means", "scale"], "logits", {}),
        ("Div", ["logits", "heat"], "cooler", {}),
        ("Softmax", ["cooler"], "probabilities", {"axis": -1}),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **more) for kind, inputs, output, more in nodes],
        "small",
        [pixels],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3])
            for name in ("logits", "probabilities")
        ],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    if description is not None:
        description = {
            "format": "keras-cmm-onnx/1",
            "part": "model",
            "class_names": ["red", "green", "blue"],
            "preprocessing": {"image_size": SIZE},
            "temperature": 2.0,
            "digest": "0" * 64,
        } | (change or {})
        helper.set_model_props(model, {"keras_cmm": json.dumps(description)})
    onnx.save(model, path)
    return path
