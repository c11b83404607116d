"""CLIP's image towers as graphs of ONNX."""

from keras_cmm.clip.graphs.onnx_graph import OPSET, OnnxGraph, write_onnx
from keras_cmm.clip.graphs.vision_graphs import add_vision_tower, value

__all__ = ["OPSET", "OnnxGraph", "add_vision_tower", "value", "write_onnx"]
