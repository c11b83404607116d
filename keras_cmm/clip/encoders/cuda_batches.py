"""Batches of images on a CUDA GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.clip.backbones import inference_mode
from keras_cmm_runtime.images import ImagePreprocessor
from keras_cmm_runtime.utils import unit_rows

# Larger batches keep no GPU busier, and the images that wait for it take memory of the host.
_MOST = 256
# Images of the pass that is measured.
_FEW = 8
# Share of the free memory that a batch may take. The next one lies beside it.
_SHARE = 0.5


class CudaBatches:
    """Embeds batches of images on a CUDA GPU, and copies one while another is computed.

    It serves all towers that torch runs. Pixels travel as bytes, a quarter of float32, from memory
    that the GPU reads by itself (pinned), on a stream of their own. The GPU normalises them by the
    operations of `ImagePreprocessor.normalize`, in their order. Convolutions of float32 are
    computed in float32, where torch would take TF32, which keeps 10 bits of each factor.

    Args:
        backbone: a backbone of torch, as `keras_cmm.clip.load` returns it.
        preprocessor: its preprocessor.
        encode: embeds normalised images, a tensor `(batch, image_size, image_size, 3)`.
    """

    def __init__(
        self, backbone: Any, preprocessor: ImagePreprocessor, encode: Callable[[Any], Any]
    ) -> None:
        self._backbone = backbone
        self._preprocessor = preprocessor
        self._encode = encode
        self._size: int | None = None
        self._stream: Any = None
        self._statistics: Any = None

    @property
    def batch_size(self) -> int:
        """Number of images that the GPU has memory for, a power of two up to 256.

        The memory of an image is measured, once, by a pass of eight.
        """
        if self._size is None:
            self._size = self._measured_size()
        return self._size

    def begin(self, pixels: npt.NDArray[Any]) -> Callable[[], npt.NDArray[np.float32]]:
        """Begins to embed a batch, and does not wait.

        If `batch_size` was asked for, a larger batch is embedded in pieces of that size. When the
        memory does not suffice for one, the size is halved for good.

        Args:
            pixels: values in [0, 255], `(batch, image_size, image_size, 3)`.

        Returns:
            What waits for the embeddings and returns them, float32 `(batch, dim)`, rows of unit
            length.
        """
        import torch

        begun: list[Callable[[], npt.NDArray[np.float32]]] = []
        start = 0
        while start < len(pixels):
            piece = pixels[start : start + (self._size or len(pixels))]
            rows = self._begin_if_it_fits(piece)
            if rows is None:
                self._size = len(piece) // 2
                torch.cuda.empty_cache()
            else:
                begun.append(rows)
                start += len(piece)
        none = np.empty((0, self._backbone.projection_dim), "float32")
        return lambda: np.concatenate([none, *(rows() for rows in begun)])

    def _begin_if_it_fits(
        self, pixels: npt.NDArray[Any]
    ) -> Callable[[], npt.NDArray[np.float32]] | None:
        """Returns `None` if a smaller batch is to be tried.

        It is a function of its own, as the error holds the tensors of the batch until it is gone.
        """
        import torch

        try:
            return self._begin(pixels)
        except torch.cuda.OutOfMemoryError:
            # A size that the user chose is kept.
            if self._size is None or len(pixels) == 1:
                raise
        return None

    def _begin(self, pixels: npt.NDArray[Any]) -> Callable[[], npt.NDArray[np.float32]]:
        import torch

        device = self._device
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            # Of a plain number torch would multiply with the reciprocal, which rounds otherwise.
            # Made once, as a copy from memory that is not pinned waits for the GPU.
            numbers = [[255.0] * 3, self._preprocessor.mean, self._preprocessor.std]
            self._statistics = torch.from_numpy(np.array(numbers, "float32")).to(device)
        computing = torch.cuda.current_stream(device)
        with inference_mode(), _float32_convolutions():
            with torch.cuda.stream(self._stream):
                images = _pinned(pixels).to(device, non_blocking=True)
            computing.wait_stream(self._stream)
            # Its memory belongs to the other stream, which must not use it again before this one.
            images.record_stream(computing)
            embeddings = self._encode(self._normalized(images)).float()
            # torch takes pinned memory for such a copy too.
            copy = embeddings.to("cpu", non_blocking=True)
        copied = computing.record_event()

        def rows() -> npt.NDArray[np.float32]:
            copied.synchronize()
            return unit_rows(copy.numpy())

        return rows

    def _normalized(self, images: Any) -> Any:
        """Returns what `ImagePreprocessor.normalize` does, on the GPU."""
        most, mean, std = self._statistics
        return images.float().div_(most).sub_(mean).div_(std)

    def _measured_size(self) -> int:
        import torch

        device, size = self._device, self._preprocessor.image_size
        few = np.zeros((_FEW, size, size, 3), "uint8")
        # The first pass makes what stays: a copy of the weights, and workspaces.
        self._begin(few)()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        self._begin(few)()
        each = max(1.0, (torch.cuda.max_memory_allocated(device) - before) / _FEW)
        # What torch holds and does not use is free too.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        fit = _SHARE * (torch.cuda.mem_get_info(device)[0] + unused) / each
        return 2 ** int(math.log2(min(max(fit, 1.0), _MOST)))

    @property
    def _device(self) -> Any:
        return self._backbone.weights[0].value.device


@contextmanager
def _float32_convolutions() -> Iterator[None]:
    import torch

    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision
    cudnn.conv.fp32_precision = "ieee"
    try:
        yield
    finally:
        cudnn.conv.fp32_precision = before


def _pinned(pixels: npt.NDArray[Any]) -> Any:
    """Returns a copy of pixels in pinned memory: bytes, or float32 of what is no whole number."""
    import torch

    dtype = torch.uint8 if pixels.dtype == np.uint8 else torch.float32
    copy = torch.empty(pixels.shape, dtype=dtype, pin_memory=True)
    copy.numpy()[...] = pixels
    return copy
