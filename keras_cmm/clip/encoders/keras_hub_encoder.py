"""The encoder of a keras-hub backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.clip.backbones import (
    ModelDigest,
    TextEncoder,
    VisionEncoder,
    as_unit_rows,
    inference_mode,
    logit_scale,
    runs_on_cpu,
    runs_on_cuda,
)
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.encoders.cuda_batches import CudaBatches
from keras_cmm.clip.encoders.dtype_speed import slow_dtype_message
from keras_cmm.clip.encoders.image_engine import ImageEngine
from keras_cmm.clip.inputs import tokenize
from keras_cmm_runtime.images import ImagePreprocessor
from keras_cmm_runtime.utils import unit_rows, warn


class KerasHubEncoder:
    """The `Encoder` of a CLIP, SigLIP or MetaCLIP 2 backbone of keras-hub.

    Args:
        clip_model: the model, as `keras_cmm.clip.load` returns it.
        dtype: dtype of the image encoder's matrix products: `"float32"`, `"bfloat16"`,
            `"float16"`, or `None` for the backbone's. Layer norms, softmax and sums stay float32. A
            dtype other than the backbone's needs one of CLIP's ViTs and the torch backend.
        engine: what runs the image encoder on a CPU: `"keras"`, `"onnx"` for ONNX Runtime, or
            `"auto"` for the faster one, which is measured by the first large job. `None` for the
            environment variable `KERAS_CMM_EMBEDDER`, or `"auto"`. See `ImageEngine`.

    Raises:
        InputError: If `dtype` or `engine` is none of them, or `"onnx"` cannot run the backbone.

    Example:
        >>> from keras_cmm import clip  # doctest: +SKIP
        >>> encoder = clip.KerasHubEncoder(clip.load("emoji_clip_tiny"))  # doctest: +SKIP
        >>> encoder.dim  # doctest: +SKIP
        192
    """

    def __init__(
        self, clip_model: CLIPModel, dtype: str | None = None, engine: str | None = None
    ) -> None:
        self.clip_model = clip_model
        self.dtype = dtype
        self.preprocessor = ImagePreprocessor.from_image_converter(clip_model.image_converter)
        self._encode_images = VisionEncoder(clip_model.backbone, dtype)
        self._encode_texts = TextEncoder(clip_model.backbone)
        self._model_digest = ModelDigest(clip_model.backbone)
        self._is_dtype_checked = False
        self._cuda = CudaBatches(clip_model.backbone, self.preprocessor, self._encode_images)
        self._engine = ImageEngine(
            clip_model.backbone, self.preprocessor, dtype, engine, self._embed_by_keras
        )

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self.clip_model.backbone.projection_dim)

    @property
    def logit_scale(self) -> float | None:
        """Factor of the cosine similarities in the training of the backbone; see `Encoder`."""
        if self.clip_model.tokenizer is None:
            return None
        return logit_scale(self.clip_model.backbone)

    @property
    def on_cpu(self) -> bool:
        """Whether the backbone runs on the CPU."""
        return runs_on_cpu(self.clip_model.backbone)

    @property
    def batch_size(self) -> int:
        """Number of images of a forward pass, 32 or what a CUDA GPU has memory for."""
        return self._cuda.batch_size if runs_on_cuda(self.clip_model.backbone) else 32

    @property
    def begin_pixels(self) -> Callable[..., Callable[[], npt.NDArray[np.float32]]] | None:
        """Begins to embed a batch on a CUDA GPU, see `CudaBatches`; `None` elsewhere."""
        return self._cuda.begin if runs_on_cuda(self.clip_model.backbone) else None

    def embed_pixels(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Embeds one batch of images; see `Encoder`."""
        if self.begin_pixels is not None:
            return self.begin_pixels(pixels)()
        rows = self._engine(pixels)
        if rows is None:
            embeddings = self._embed_by_keras(pixels)
            self._warn_of_slow_dtype()
            return embeddings
        self._encode_images.release()
        return unit_rows(rows)

    def expect(self, images: int) -> None:
        """Says of how many images the next job is, by which an engine is chosen.

        Args:
            images: the number, or 0 at the end of the job.
        """
        self._engine.expect(images)

    def _embed_by_keras(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        with inference_mode():
            return as_unit_rows(self._encode_images(self.preprocessor.normalize(pixels)))

    def _warn_of_slow_dtype(self) -> None:
        """Warns once of a dtype that this processor has no units for, in a job that takes long."""
        dtype = self.dtype or str(self.clip_model.backbone.compute_dtype)
        if (
            self._is_dtype_checked
            or dtype not in ("bfloat16", "float16")
            or keras.backend.backend() != "torch"
            or not self._engine.takes_long()
        ):
            return
        self._is_dtype_checked = True
        # On CPUs a tower multiplies float16 as float32.
        if dtype == "float16" and self._encode_images.is_fast:
            return
        message = slow_dtype_message(dtype)
        if message is not None:
            warn(message)

    def token_ids(self, texts: Sequence[str]) -> npt.NDArray[np.int32]:
        """Tokenizes texts, `(texts, max_sequence_length)`; see `tokenize`."""
        length = self.clip_model.backbone.text_encoder.max_sequence_length
        return tokenize(self.clip_model.tokenizer, texts, length)

    @property
    def embed_texts(self) -> Callable[..., npt.NDArray[np.float32]] | None:
        """Embeds texts, or is `None` without a text tower; see `Encoder`."""
        return None if self.clip_model.tokenizer is None else self._embed_texts

    def _embed_texts(self, texts: Sequence[str], batch_size: int = 256) -> npt.NDArray[np.float32]:
        import keras_hub

        ids = self.token_ids(texts)
        used = ids.shape[1]
        if isinstance(self.clip_model.tokenizer, keras_hub.models.CLIPTokenizer):
            # Attention is causal, so tokens after the end token, the highest, change nothing.
            used = int((ids.argmax(axis=1) + 1).max(initial=1))
        batches = [np.empty((0, self.dim), dtype="float32")]
        for start in range(0, len(ids), batch_size):
            with inference_mode():
                rows = ids[start : start + batch_size, :used]
                batches.append(as_unit_rows(self._encode_texts(rows)))
        return np.concatenate(batches)

    def digest(self) -> dict[str, Any]:
        """Returns what the embeddings depend on; see `Encoder`.

        An engine that the user names is part of it, so a store never mixes what that engine embeds
        with the rest. The engine that `"auto"` finds is not.
        """
        engine = self._engine.engine
        return {
            "backend": keras.backend.backend(),
            "dtype": self.dtype,
            **({} if engine == "auto" else {"engine": engine}),
            **self._model_digest(),
        }
