"""The image towers of models that another library runs, as graphs of ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import Any

import numpy as np

from keras_cmm.clip.graphs.onnx_graph import OPSET, OnnxGraph
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImagePreprocessor


def add_library_tower(
    graph: OnnxGraph, pixels: str, backbone: Any, preprocessor: ImagePreprocessor
) -> str:
    """Adds an image tower that torch's own exporter writes.

    Args:
        graph: the graph.
        pixels: uint8 `(batch, image_size, image_size, 3)`.
        backbone: a `TorchBackbone`.
        preprocessor: the preprocessor, which normalises the pixels.

    Returns:
        The embeddings, `(batch, dim)`, not of unit length.

    Raises:
        InputError: if torch cannot export the tower.

    References:
        https://docs.pytorch.org/docs/stable/onnx_export.html.
    """
    import torch

    class Tower(torch.nn.Module):
        """From pixels to embeddings."""

        def __init__(self) -> None:
            super().__init__()
            self.module = backbone.tower.module
            self.register_buffer("mean", torch.tensor(np.array(preprocessor.mean, "float32")))
            self.register_buffer("std", torch.tensor(np.array(preprocessor.std, "float32")))

        def forward(self, images: Any) -> Any:
            return backbone.tower.call((images.float() / 255 - self.mean) / self.std)

    if backbone.tower.variable_dtype != "float32" or backbone.tower.compute_dtype != "float32":
        raise InputError(
            f"a model that {backbone.tower.library} runs is exported from float32 only; load it "
            f"without `dtype`. Received: {backbone.tower.dtype_policy.name}"
        )
    size = preprocessor.image_size
    device = backbone.weights[0].value.device
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8, device=device)
    try:
        with _quiet():
            program = torch.onnx.export(
                Tower().to(device).eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                input_names=["images"],
                output_names=["embeddings"],
                verbose=False,
            )
        assert program is not None
        return graph.add(program.model_proto, {"images": pixels})[0]
    # torch's exporter raises errors of many kinds, pages long.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"torch cannot export this {backbone.tower.library} model ({lines[0][:200]})."
        ) from error


@contextlib.contextmanager
def _quiet() -> Any:
    """Hides what the exporter prints, and its warnings about its own code."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
