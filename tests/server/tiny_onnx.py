"""A tiny ONNX classifier: the logit of a class is how bright its colour is in the image."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ["red", "green", "blue"]
SIZE = 16


def write_tiny_onnx(folder, size=SIZE, classes=None):
    """Writes `classifier.onnx` into a folder; returns the folder."""
    classes = classes or CLASSES
    weights = np.zeros((3, len(classes)), "float32")
    for number in range(len(classes)):
        weights[number % 3, number] = 1 / 255
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
        helper.make_node("Mul", ["logits", "scale"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["probabilities"], axis=-1),
    ]
    constants = {
        "axes": np.array([1, 2]),
        "weights": weights,
        "scale": np.array(10.0, "float32"),
    }
    shape = ["batch", len(classes)]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", size, size, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name in ("logits", "probabilities")
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"keras_cmm": json.dumps(metadata(classes, size))})
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "classifier.onnx")
    return folder


def metadata(classes, size):
    return {
        "format": "keras-cmm-onnx/1",
        "part": "model",
        "class_names": classes,
        "preprocessing": {"image_size": size},
        "temperature": 0.1,
        "digest": "0" * 64,
        "held_out": {
            "best": np.linspace(0.5, 1, 99).tolist(),
            "own": np.linspace(0, 1, 99).tolist(),
        },
    }
