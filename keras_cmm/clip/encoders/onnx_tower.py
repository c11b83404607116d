"""The image tower of a backbone on ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.clip.backbones import same_weights, torch_weights
from keras_cmm_runtime.images import ImagePreprocessor


class OnnxTower:
    """The image tower of a backbone on ONNX Runtime, which is built anew when weights change.

    ONNX Runtime holds a copy of the weights, laid out for its products.

    Args:
        backbone: a backbone as `keras_cmm.clip.load` returns it.
        preprocessor: its preprocessor.
    """

    def __init__(self, backbone: Any, preprocessor: ImagePreprocessor) -> None:
        self._backbone = backbone
        self._preprocessor = preprocessor
        self._session: Any = None
        self._arrays: list[Any] = []
        self._made_of: list[tuple[Any, int]] = []

    def can_run(self) -> bool:
        """Returns whether there is a graph of just this tower, in float32 and on the CPU.

        There is none of subclasses, of quantised layers and of layers with LoRA, of which only the
        backbone itself knows how they run.
        """
        return self._weights() is not None

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embeds images.

        Args:
            pixels: uint8 `(batch, image_size, image_size, 3)`.

        Returns:
            float32 array of shape `(batch, dim)`, not of unit length.
        """
        weights = self._weights() or []
        if self._session is None or not same_weights(weights, self._made_of):
            self.release()
            self._open()
            self._made_of = weights
        rows: npt.NDArray[np.float32] = self._session.run(None, {"pixels": pixels})[0]
        return rows

    def release(self) -> None:
        """Frees the copy of the weights."""
        self._session, self._made_of, self._arrays = None, [], []

    def _open(self) -> None:
        import onnxruntime
        import torch

        from keras_cmm.clip.graphs import OnnxGraph, add_vision_tower

        size = self._preprocessor.image_size
        graph = OnnxGraph("pixels", "uint8", ("batch", size, size, 3), weights_apart=True)
        rows = add_vision_tower(graph, "pixels", self._backbone, self._preprocessor)
        model = graph.model({"embeddings": (rows, ("batch", "dim"))})
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # As many as Keras may use, so that a user limits both by one number.
        options.intra_op_num_threads = torch.get_num_threads()
        # A thread that waits in a loop takes the core from other work, and from our own threads.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        values = [
            onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in graph.weights.values()
        ]
        options.add_external_initializers(list(graph.weights), values)
        # The session reads these arrays as long as it lives.
        self._arrays = [*graph.weights.values(), values]
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _weights(self) -> list[tuple[Any, int]] | None:
        """Returns the weights and the counts of their changes; see `torch_weights`."""
        backbone, encoder = self._backbone, self._backbone.vision_encoder
        # Names of classes tell which graph there is, and subclasses may compute something else.
        homes = {type(part).__module__.partition(".")[0] for part in (backbone, encoder)}
        kind = f"{type(backbone).__name__} {type(encoder).__name__}"
        if not homes <= {"keras_cmm", "keras_hub"} or kind not in _KINDS:
            return None
        if getattr(encoder, "intermediate_output_index", None) is not None:
            return None
        layers = [layer for layer in encoder._flatten_layers(include_self=False) if layer.weights]
        layers += [getattr(backbone, name) for name in _PROJECTIONS if hasattr(backbone, name)]
        return torch_weights(layers, "float32")


# Those of `keras_cmm.clip.graphs`, which need `channels_last`, as all that `load` returns have.
_KINDS = (
    "CLIPBackbone CLIPVisionEncoder",
    "CLIPBackbone ResNetVisionEncoder",
    "ImageBackbone DINOV2Backbone",
    "ImageBackbone DINOV3Backbone",
    "MetaCLIP2Backbone MetaCLIP2VisionEncoder",
    "SigLIPBackbone SigLIPVisionEncoder",
)
# Layers of the image tower that are the backbone's own.
_PROJECTIONS = ("vision_projection", "vision_post_layer_norm")
