"""The formats of exported classifiers: how each is written, and run for the comparison."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx

from keras_cmm.clip.graphs import write_onnx
from keras_cmm_runtime.errors import InputError

_BATCH_SIZE = 16

Pixels = npt.NDArray[Any]
Logits = npt.NDArray[np.float32]


class Format(NamedTuple):
    """A format.

    Args:
        suffix: how the names of its files end.
        write: writes a model to a path, with what the metadata say.
        run: returns the logits of a written file for inputs.
    """

    suffix: str
    write: Callable[[onnx.ModelProto, Path, Mapping[str, Any]], None]
    run: Callable[[Path, Pixels], Logits]


def write_int8(model: onnx.ModelProto, path: Path, description: Mapping[str, Any]) -> None:
    """Writes a model of ONNX whose matrix products have weights of 8 bits.

    Activations are quantised when they are computed, so no pictures are needed to calibrate them.
    """
    import logging

    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = path.with_name(f"{path.name}.float32")
    write_onnx(model, whole, description)
    # Its advice is about models of other exporters.
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(
            whole,
            path,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=_sensitive_products(model),
            per_channel=True,
            weight_type=QuantType.QInt8,
            # 7 of the 8 bits: without VNNI, sums of 8-bit products saturate.
            reduce_range=True,
            # Activations would be quantised in attention too, where there is nothing to gain.
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        root.setLevel(level)
        for rest in path.parent.glob(f"{whole.name}*"):
            rest.unlink()
    quantized = onnx.load(path)
    write_onnx(quantized, path, description)


def _sensitive_products(model: onnx.ModelProto) -> list[str]:
    """Returns the products that stay float32: of patches, of the projection and of the head.

    They are few, and most of what int8 costs in accuracy comes from them.
    """
    kinds = [node.op_type for node in model.graph.node]
    tower = kinds.index("ReduceSumSquare")  # what scales the embeddings to unit length
    products = [number for number, kind in enumerate(kinds) if kind == "MatMul"]
    inside = [number for number in products if number < tower]
    kept = {*inside[:1], *inside[-1:], *(number for number in products if number > tower)}
    return [model.graph.node[number].name for number in sorted(kept)]


def _run_onnx(path: Path, inputs: Pixels) -> Logits:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(["logits"], {name: batch})[0] for batch in _batches(inputs)])


def _write_torch(model: onnx.ModelProto, path: Path, description: Mapping[str, Any]) -> None:
    import torch

    from keras_cmm.export.torch_program import OnnxModule

    module = OnnxModule(model).eval()
    example = _example(model)
    with warnings.catch_warnings():
        # Of torch's own code.
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module, (torch.tensor(example),), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
        torch.export.save(program, path, extra_files={"keras_cmm": json.dumps(description)})


def _run_torch(path: Path, inputs: Pixels) -> Logits:
    import torch

    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        module = torch.export.load(path).module()
        return np.concatenate(
            [module(torch.tensor(batch))[0].numpy() for batch in _batches(inputs)]
        )


def _write_openvino(model: onnx.ModelProto, path: Path, description: Mapping[str, Any]) -> None:
    openvino = _openvino()
    source = path.with_name(f"{path.name}.onnx")
    write_onnx(model, source, description)
    converted = openvino.convert_model(source)
    for rest in path.parent.glob(f"{source.name}*"):
        rest.unlink()
    converted.set_rt_info(json.dumps(description), ["keras_cmm"])
    openvino.save_model(converted, path, compress_to_fp16=False)


def _run_openvino(path: Path, inputs: Pixels) -> Logits:
    # On some processors OpenVINO computes in bfloat16 otherwise.
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = _openvino().Core().compile_model(path, "CPU", settings)
    return np.concatenate([np.array(compiled(batch)["logits"]) for batch in _batches(inputs)])


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise InputError(
            'the format openvino needs OpenVINO; install it by `pip install "keras-cmm[openvino]"`.'
        ) from error
    return openvino


def _write_litert(model: onnx.ModelProto, path: Path, description: Mapping[str, Any]) -> None:
    try:
        import litert_torch
    except ImportError as error:
        raise InputError(
            "the format litert needs litert-torch, which keras-cmm does not install, since it may "
            "ask for another version of torch; try `pip install litert-torch`, or export to ONNX."
        ) from error
    import torch

    from keras_cmm.export.torch_program import OnnxModule

    # LiteRT has no dynamic batch: the file takes one image.
    example = torch.tensor(_example(model)[:1])
    litert_torch.convert(OnnxModule(model).eval(), (example,)).export(os.fspath(path))
    append_description(path, description)


def append_description(path: Path, description: Mapping[str, Any]) -> None:
    """Appends the metadata of a LiteRT file, as the associated files of LiteRT's own metadata are.

    Such a file is a zip archive too, and LiteRT reads no further than the model.
    """
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("keras_cmm.json", json.dumps(description))


def _run_litert(path: Path, inputs: Pixels) -> Logits:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=os.fspath(path))
    run = interpreter.get_signature_runner()
    (name,) = run.get_input_details()
    first = min(run.get_output_details())
    return np.concatenate([run(**{name: row[None]})[first] for row in inputs])


def _example(model: onnx.ModelProto) -> Pixels:
    (given,) = model.graph.input
    sizes = [each.dim_value for each in given.type.tensor_type.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
    return np.zeros([2, *sizes[1:]], dtype)


def _batches(inputs: Pixels) -> Iterator[Pixels]:
    for start in range(0, len(inputs), _BATCH_SIZE):
        yield inputs[start : start + _BATCH_SIZE]


FORMATS = {
    "onnx": Format(".onnx", write_onnx, _run_onnx),
    "torch": Format(".pt2", _write_torch, _run_torch),
    "openvino": Format(".xml", _write_openvino, _run_openvino),
    "litert": Format(".tflite", _write_litert, _run_litert),
}
