"""Exporting a classifier."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

from keras_cmm.clip.graphs import OnnxGraph, add_vision_tower
from keras_cmm.export.formats import FORMATS, write_int8
from keras_cmm.export.head_graph import add_head, unit_length
from keras_cmm.export.parity import Parity, check_parity, compare, example_pixels
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.onnx_classifier import ONNX_FORMAT
from keras_cmm_runtime.utils import temporary_in

# Enough to notice a wrong graph. The commands compare more when they are asked to.
_EXAMPLES = 4


def export_classifier(
    classifier: Any,
    path: str | os.PathLike[str],
    format: str = "onnx",  # noqa: A002, as of `keras.Model.export`
    part: Literal["model", "head"] = "model",
    images: Iterable[Any] | None = None,
    int8: bool = False,
) -> Parity:
    """Writes a classifier as a file that runs without Keras, and compares its answers with Keras's.

    The file takes pixels, uint8 `(batch, image_size, image_size, 3)`, as
    `embedder.preprocessor.pixels` makes them. It normalises them, embeds them and returns `logits`
    and `probabilities`, `(batch, classes)`. Its metadata say the classes, the preprocessing, the
    temperature and the SHA-256 of the graph and its weights. All weights are float32, whatever
    the backbone's dtype.

    The formats are:

    - `"onnx"`: ONNX, for `keras_cmm_runtime.OnnxClassifier` and any other program that runs ONNX.
      Weights of more than 2 GB lie in a second file, `NAME.data`.
    - `"torch"`: a `torch.export.ExportedProgram`, a file `.pt2` for `torch.export.load`.
    - `"openvino"`: OpenVINO's IR, a file `.xml` and a file `.bin`.
    - `"litert"`: LiteRT, a file `.tflite` that takes one image. Its metadata are the file
      `keras_cmm.json` of a zip archive at its end.

    Args:
        classifier: a `CMMImageClassifier`.
        path: the file.
        format: one of `FORMATS`.
        part: `"model"` from pixels to logits, `"head"` from embeddings to logits.
        images: pictures to compare with Keras, or `None` for a few that are made up.
        int8: bool. Whether the weights of the matrix products have 8 bits, for ONNX only. Such a
            file may name other classes than Keras, so the comparison is returned and not judged.

    Returns:
        The comparison with Keras.

    Raises:
        InputError: if the classifier cannot be exported, the file cannot be written, or it does not
            agree with Keras. Then there is no file.
    """
    if part not in ("model", "head"):
        raise ValueError(f'`part` must be "model" or "head". Received: {part=}')
    if int8 and format != "onnx":
        raise InputError(
            f'`int8` is for the format "onnx" alone. Received: int8={int8}, format={format!r}'
        )
    if int8 and part == "head":
        raise InputError("`int8` is for the whole model: the head stays float32.")
    kind = FORMATS[format]
    path = Path(path)
    if path.suffix != kind.suffix:
        raise InputError(
            f"{path}: the name of a file of the format {format} must end in {kind.suffix}."
        )
    make_model = _whole_model if part == "model" else _head_model
    # ONNX Runtime quantises a product that adds its bias apart.
    model = make_model(classifier, fused_biases=not int8)
    description = {
        "format": ONNX_FORMAT,
        "part": part,
        "class_names": list(classifier.class_names),
        "preprocessing": vars(classifier.embedder.preprocessor),
        "temperature": classifier.head.temperature,
        "digest": _digest(model),
    }
    if (scores := classifier.head.held_out_scores) is not None:
        description["held_out"] = scores.as_lists()
    inputs, expected = _compared(classifier, part, images)
    with _refused(path), temporary_in(path.resolve().parent, Path.mkdir) as folder:
        (write_int8 if int8 else kind.write)(model, folder / path.name, description)
        del model
        logits = kind.run(folder / path.name, inputs)
        dtype = str(classifier.backbone.compute_dtype)
        if int8:
            parity = compare(logits, expected)
        else:
            parity = check_parity(logits, expected, classifier.head, dtype)
        for written in sorted(folder.iterdir(), reverse=True):  # the weights before the graph
            written.replace(path.resolve().parent / written.name)
    return parity


def _whole_model(classifier: Any, fused_biases: bool) -> onnx.ModelProto:
    preprocessor = classifier.embedder.preprocessor
    size, classes = preprocessor.image_size, len(classifier.class_names)
    graph = OnnxGraph("pixels", "uint8", ("batch", size, size, 3), fused_biases)
    embeddings = add_vision_tower(graph, "pixels", classifier.backbone, preprocessor)
    # Training and prediction see unit vectors, on which a bias of the mapping depends.
    logits, probabilities = add_head(graph, unit_length(graph, embeddings), classifier.head)
    shape = ("batch", classes)
    return graph.model({"logits": (logits, shape), "probabilities": (probabilities, shape)})


def _head_model(classifier: Any, fused_biases: bool) -> onnx.ModelProto:
    dim, classes = classifier.backbone.projection_dim, len(classifier.class_names)
    graph = OnnxGraph("embeddings", "float32", ("batch", dim), fused_biases)
    logits, probabilities = add_head(graph, "embeddings", classifier.head)
    shape = ("batch", classes)
    return graph.model({"logits": (logits, shape), "probabilities": (probabilities, shape)})


def _digest(model: onnx.ModelProto) -> str:
    """Returns the SHA-256 of the operations and of all weights."""
    digest = hashlib.sha256()
    for part in (*model.graph.node, *model.graph.initializer):
        digest.update(part.SerializeToString(deterministic=True))
    return digest.hexdigest()


def _compared(
    classifier: Any, part: str, images: Iterable[Any] | None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """Returns inputs of the exported file, and the logits of Keras for them."""
    if part == "head":
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(64, classifier.backbone.projection_dim)).astype("float32")
        return rows, classifier.predict_embeddings(rows)
    embedder = classifier.embedder
    if images is None:
        pixels = example_pixels(embedder.preprocessor.image_size, _EXAMPLES)
    else:
        pixels = np.stack([embedder.preprocessor.pixels(image) for image in images])
    size = embedder.batch_size
    embeddings = [
        embedder.embed_pixels(pixels[start : start + size]) for start in range(0, len(pixels), size)
    ]
    return pixels, classifier.predict_embeddings(np.concatenate(embeddings))


class _refused:  # noqa: N801, a context manager
    """Raises an `InputError` for a path that cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        if self._path.is_dir():
            raise InputError(f"{self._path}: is a folder; give the name of a file to write.")
        if not self._path.resolve().parent.is_dir():
            raise InputError(f"{self._path}: its folder does not exist; make it first.")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, OSError):
            raise InputError(
                f"{self._path}: cannot be written ({error.strerror or error})."
            ) from error
