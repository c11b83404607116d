"""From texts to what a text tower takes."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def tokenize(tokenizer: Any, texts: Sequence[str], length: int) -> npt.NDArray[np.int32]:
    """Tokenizes texts as the tokenizer's model was trained.

    For CLIP the result is that of transformers' `CLIPTokenizer`; OpenAI's own code would also undo
    HTML entities and mend broken encodings first. SigLIP's texts lose their case and punctuation
    first, and have no start token; MetaCLIP 2's lose their case.

    Args:
        tokenizer: a `CLIPTokenizer`, `SigLIPTokenizer` or `MetaCLIP2Tokenizer` of keras-hub.
        texts: any texts; one that is too long is cut, and keeps its end token.
        length: int. The tokens of every row.

    Returns:
        int32 array of shape `(texts, length)`, filled up with the pad token.
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
