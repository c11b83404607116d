"""What runs the image tower of a backbone: Keras, or ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.clip.backbones import ModelDigest, runs_on_cpu
from keras_cmm.clip.encoders.engine_choice import fastest_engine, remembered_choice
from keras_cmm.clip.encoders.onnx_tower import OnnxTower
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImagePreprocessor

ENGINES = ("auto", "keras", "onnx")
ENGINE_VARIABLE = "KERAS_CMM_EMBEDDER"
# Multiplications of a job below which Keras runs it: 500 images of ViT-B/32, or 120 of ViT-B/16.
# Two cores take about ten seconds for them. ONNX Runtime needs a second or two to get ready, which
# what it saves of those does not pay for.
_SMALL_JOB = 2e12
# What takes about a second.
_LONG_JOB = 2e11
# A pass of the measurement has as many images as take about a tenth of a second.
_MULTIPLICATIONS_OF_A_PASS = 2e10


class ImageEngine:
    """Chooses what runs the image tower of a backbone on a CPU: Keras, or ONNX Runtime.

    The choice is made for a job, which is as many images as `expect` was told. A small job runs on
    Keras. The first large one measures both for two seconds, and later ones, in other processes
    too, take what was found; see `fastest_engine`. So the same job gives the same bits again. The
    engines differ by about 1e-7 in numbers of an embedding, as batches of other sizes do.

    Args:
        backbone: a backbone as `keras_cmm.clip.load` returns it.
        preprocessor: its preprocessor.
        dtype: dtype of the products, or `None` for the backbone's. Only float32 runs on ONNX
            Runtime.
        engine: one of `ENGINES`; `None` for the environment variable `KERAS_CMM_EMBEDDER`, or
            `"auto"`.
        by_keras: embeds pixels with Keras.

    Raises:
        InputError: If `engine` is none of them, or is `"onnx"` and there is no such engine for the
            backbone.
    """

    def __init__(
        self,
        backbone: Any,
        preprocessor: ImagePreprocessor,
        dtype: str | None,
        engine: str | None,
        by_keras: Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]],
    ) -> None:
        given = os.environ.get(ENGINE_VARIABLE) or "auto" if engine is None else engine
        if given not in ENGINES:
            name = "engine" if engine is not None else ENGINE_VARIABLE
            raise InputError(f"`{name}` must be one of {ENGINES}. Received: {name}={given!r}")
        self.engine = given
        self._backbone = backbone
        self._preprocessor = preprocessor
        self._dtype = dtype
        self._by_keras = by_keras
        self._tower = OnnxTower(backbone, preprocessor)
        self._images = 0
        self._chosen: str | None = None
        if given == "onnx" and not self._has_onnx():
            raise InputError(
                '`engine` "onnx" needs the torch backend, a CPU, float32 and a CLIP, SigLIP, '
                "MetaCLIP 2 or DINO of keras-hub without LoRA or quantisation. Received: "
                f"backend {keras.backend.backend()!r}, dtype {dtype or backbone.compute_dtype!r}, "
                f"a {type(backbone).__name__}; leave out the engine."
            )

    def expect(self, images: int) -> None:
        """Says of how many images the next job is; 0 says that it is over."""
        self._images = images
        self._chosen = None

    def __call__(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Embeds images on ONNX Runtime, if that is the choice.

        Args:
            pixels: `(batch, image_size, image_size, 3)`.

        Returns:
            float32 array of shape `(batch, dim)`, not of unit length, or `None` where Keras is to
            embed them.
        """
        # Pixels that an augmentation made are no whole numbers.
        if self.engine == "keras" or pixels.dtype != np.uint8 or not len(pixels):
            return None
        if self._chosen is None:
            self._chosen = self._choose()
        # A backbone may get LoRA or be quantised at any time.
        return self._tower(pixels) if self._chosen == "onnx" and self._has_onnx() else None

    def takes_long(self) -> bool:
        """Returns whether the job takes Keras a second or more, on a CPU."""
        return runs_on_cpu(self._backbone) and self._images * self._multiplications() >= _LONG_JOB

    def _choose(self) -> str:
        if self.engine != "auto":
            return self.engine
        cost = self._multiplications()
        if self._images * cost < _SMALL_JOB or not self._has_onnx():
            return "keras"
        import onnxruntime
        import torch

        digest = ModelDigest(self._backbone).architecture()
        versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
        model = f"{digest}, {torch.get_num_threads()} threads, {versions}"
        found = remembered_choice(model, ENGINES[1:])
        if found is None:
            found = self._measured(model, cost)
        if found == "keras":
            self._tower.release()
        return found

    def _measured(self, model: str, cost: float) -> str:
        size = self._preprocessor.image_size
        images = int(np.clip(_MULTIPLICATIONS_OF_A_PASS // cost, 2, 16))
        pixels = np.random.default_rng(0).integers(0, 256, (images, size, size, 3), "uint8")
        try:
            return fastest_engine(
                model,
                {"keras": lambda: self._by_keras(pixels), "onnx": lambda: self._tower(pixels)},
            )
        except InputError:  # There is no graph for one of its layers.
            return "keras"

    def _multiplications(self) -> float:
        """Returns about how many an image takes: each weight is used for each patch."""
        encoder = self._backbone.vision_encoder
        weights = sum(float(np.prod(weight.shape)) for weight in encoder.weights)
        side = self._preprocessor.image_size // getattr(encoder, "patch_size", 32)
        return weights * float(side**2)

    def _has_onnx(self) -> bool:
        return (
            keras.backend.backend() == "torch"
            and self._dtype in (None, "float32")
            and runs_on_cpu(self._backbone)
            and self._tower.can_run()
        )
