"""Turning texts into token ids."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def tokenize(tokenizer: Any, texts: Sequence[str], length: int) -> npt.NDArray[np.int32]:
    """Tokenizes texts as in the training of the tokenizer's model.

    For CLIP the token ids are those of transformers' `CLIPTokenizer`. (OpenAI's own code first
    decodes HTML entities and repairs broken encodings.) For SigLIP, texts are lowercased, lose
    their punctuation, and get no start token. For MetaCLIP 2, texts are lowercased.

    Args:
        tokenizer: a `CLIPTokenizer`, `SigLIPTokenizer` or `MetaCLIP2Tokenizer` of keras-hub.
        texts: list of str. A text that is too long is cut off before its end token.
        length: int. Number of tokens of each row.

    Returns:
        int32 array of shape `(texts, length)`, padded with the pad token.
    """
    ids = np.full((len(texts), length), tokenizer.pad_token_id, dtype="int32")
    if not len(texts):
        return ids
    import keras_hub

    start = (
        []
        if isinstance(tokenizer, keras_hub.models.SigLIPTokenizer)
        else [tokenizer.start_token_id]
    )
    texts = [_cleaned(tokenizer, text) for text in texts]
    for row, tokens in enumerate(tokenizer(texts)):
        kept = [*start, *tokens[: length - len(start) - 1], tokenizer.end_token_id]
        ids[row, : len(kept)] = kept
    return ids


def _cleaned(tokenizer: Any, text: str) -> str:
    import keras_hub

    if isinstance(tokenizer, keras_hub.models.SigLIPTokenizer):
        return re.sub(r"\s+", " ", text.lower().translate(_PUNCTUATION)).strip()
    if isinstance(tokenizer, keras_hub.models.MetaCLIP2Tokenizer):
        return text.lower()
    return text
