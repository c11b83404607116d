"""Text embeddings and class prototypes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.embedding.batched import Batched
from keras_cmm.clip.encoders import Encoder, KerasHubEncoder
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.shortened import shortened
from keras_cmm_runtime.utils.unit_rows import unit_rows


class TextEmbedder(Batched):
    """Embeds texts.

    Args:
        model: the model, as `keras_cmm.clip.load` returns it, or an `Encoder`.
        batch_size: int. Number of texts in a forward pass. It may be set later too. `None` for 256.

    Raises:
        InputError: If the encoder has no text tower.
        ValueError: If `batch_size` is not an int >= 1.

    Example:
        >>> from keras_cmm import clip  # doctest: +SKIP
        >>> embedder = clip.TextEmbedder(clip.load("clip_vit_base_patch16"))  # doctest: +SKIP
        >>> embedder.embed(["a photo of a cat.", "a photo of a dog."]).shape  # doctest: +SKIP
        (2, 512)

    References:
        Radford et al., ICML 2021, arXiv:2103.00020, section 3.1.4 (prompt ensembling).
    """

    def __init__(self, model: CLIPModel | Encoder, batch_size: int | None = None) -> None:
        self.encoder: Encoder = KerasHubEncoder(model) if isinstance(model, CLIPModel) else model
        self.batch_size = batch_size
        if self.encoder.embed_texts is None:
            raise InputError(
                f"`model` must have a text tower. Received: {shortened(repr(model))}, which embeds "
                "images only; use it beside a CLIP model."
            )

    @property
    def _usual_batch_size(self) -> int:
        return 256

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeds texts.

        Args:
            texts: list of str. A text that is too long is cut off before its end token, with a
                warning.

        Returns:
            float32 array of shape `(texts, dim)`, rows of unit length.

        Raises:
            InputError: If `texts` is one str, holds something other than str, or a text has more
                than 100,000 characters.
        """
        # A str is a sequence of str too.
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"`texts` must be a list of str. Received: {shortened(repr(texts))}")
        assert self.encoder.embed_texts is not None
        return self.encoder.embed_texts(texts, self.batch_size)

    def class_prototypes(self, prompts: Sequence[Sequence[str]]) -> npt.NDArray[np.float32]:
        """Embeds the prompts of each class and averages them.

        The embeddings of the prompts are normalised, averaged for each class, and normalised again.

        Args:
            prompts: for each class a list of prompts, as `keras_cmm.clip.build_prompts` returns.

        Returns:
            float32 array of shape `(classes, dim)`, rows of unit length.

        Raises:
            InputError: If a class has no list of prompts, or an empty list.
        """
        for group in prompts:
            if isinstance(group, str) or not len(group):
                raise InputError(
                    "`prompts` must hold a list of one or more prompts for each class. Received "
                    f"for a class: {group!r}"
                )
        # Classes may share prompts. Each is embedded once.
        texts = list(dict.fromkeys(text for group in prompts for text in group))
        row_of = {text: row for row, text in enumerate(texts)}
        embeddings = self.embed(texts)
        means = [embeddings[[row_of[text] for text in group]].mean(axis=0) for group in prompts]
        return unit_rows(np.stack(means))
