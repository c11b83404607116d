"""Embeddings as a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from keras_cmm.clip import Encoder
from keras_cmm.clip.embedding.batched import usual_batch_size
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImagePreprocessor

if TYPE_CHECKING:
    import pyarrow


class EmbeddingModel:
    """A `ShardModel` that embeds images: a column `embedding` of float16 lists of one length.

    Args:
        encoder: the encoder.
        batch_size: int. Number of images in a forward pass; `None` as in `ImageEmbedder`.

    Example:
        See `embed_shards`.
    """

    def __init__(self, encoder: Encoder, batch_size: int | None = None) -> None:
        self.encoder = encoder
        self.batch_size = usual_batch_size(encoder) if batch_size is None else batch_size

    @property
    def preprocessor(self) -> ImagePreprocessor:
        """What resizes and crops images."""
        return self.encoder.preprocessor

    def columns(
        self, pixels: npt.NDArray[np.uint8], readable: Sequence[bool]
    ) -> dict[str, pyarrow.Array]:
        """Returns the column `embedding`; see `ShardModel`."""
        import pyarrow

        dim = self.encoder.dim
        rows = np.zeros((len(readable), dim), "float16")
        mask = np.asarray(readable, bool)
        if len(pixels):
            with np.errstate(over="ignore"):
                rows[mask] = self.encoder.embed_pixels(pixels)
            if not np.isfinite(rows).all():
                raise InputError(
                    "the model gives embeddings with NaN, or with numbers too large for float16."
                )
        return {
            "embedding": pyarrow.FixedSizeListArray.from_arrays(
                pyarrow.array(rows.reshape(-1)), dim, mask=pyarrow.array(~mask)
            )
        }
