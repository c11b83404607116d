"""Turning texts into token ids."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.shortened import shortened
from keras_cmm_runtime.utils.warn import warn

# Far more than any model reads. A text of megabytes would take all the memory.
MAX_CHARACTERS = 100_000
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def tokenize(tokenizer: Any, texts: Sequence[str], length: int) -> npt.NDArray[np.int32]:
    """Tokenizes texts as in the training of the tokenizer's model.

    For CLIP the token ids are those of transformers' `CLIPTokenizer`. (OpenAI's own code first
    decodes HTML entities and repairs broken encodings.) For SigLIP, texts are lowercased, lose
    their punctuation, and get no start token. For SigLIP 2, which has Gemma's tokenizer, texts are
    lowercased and get no start token. MetaCLIP 2 takes texts as they are.

    Args:
        tokenizer: a `CLIPTokenizer`, `SigLIPTokenizer`, `GemmaTokenizer` or `MetaCLIP2Tokenizer` of
            keras-hub, or a `LibraryTokenizer`.
        texts: list of str. A text that is too long is cut off before its end token, with a warning.
        length: int. Number of tokens of each row.

    Returns:
        int32 array of shape `(texts, length)`, padded with the pad token.

    Raises:
        InputError: If a text has more than `MAX_CHARACTERS` characters.

    References:
        https://github.com/huggingface/transformers, `SiglipTokenizer`, `Siglip2Tokenizer`;
        https://github.com/facebookresearch/MetaCLIP, src/mini_clip/factory.py, `get_tokenizer`.
    """
    longest = max(texts, key=len, default="")
    if len(longest) > MAX_CHARACTERS:
        raise InputError(
            f"a text must have at most {MAX_CHARACTERS:,} characters; shorten it. Received: "
            f"{len(longest):,} characters, {shortened(longest)!r}"
        )
    # The tokenizer of a `TorchBackbone` is another library's, which does all that follows.
    if hasattr(tokenizer, "token_ids"):
        return np.asarray(tokenizer.token_ids(texts), dtype="int32")
    ids = np.full((len(texts), length), tokenizer.pad_token_id, dtype="int32")
    if not len(texts):
        return ids
    import keras_hub

    models = keras_hub.models
    is_siglip = isinstance(tokenizer, models.SigLIPTokenizer | models.GemmaTokenizer)
    start = [] if is_siglip else [tokenizer.start_token_id]
    # The tokenizers of keras-hub's SigLIP presets add the end token themselves.
    ends = 1 if getattr(tokenizer, "add_eos", False) else 0
    room = length - len(start) - 1
    cut = []
    for row, tokens in enumerate(tokenizer([_cleaned(tokenizer, text) for text in texts])):
        words = tokens[: len(tokens) - ends]
        kept = [*start, *words[:room], tokenizer.end_token_id]
        ids[row, : len(kept)] = kept
        if len(words) > room:
            cut.append(texts[row])
    if cut:
        warn(
            f"{len(cut):,} of {len(texts):,} texts {'is' if len(cut) == 1 else 'are'} longer than "
            f"the {length} tokens that the model reads, so the end is cut off; shorten them. For "
            f"example: {shortened(cut[0])!r}"
        )
    return ids


def _cleaned(tokenizer: Any, text: str) -> str:
    import keras_hub

    if isinstance(tokenizer, keras_hub.models.SigLIPTokenizer):
        return re.sub(r"\s+", " ", text.lower().translate(_PUNCTUATION)).strip()
    if isinstance(tokenizer, keras_hub.models.GemmaTokenizer):
        # Letter by letter, as transformers does: a final sigma is no other letter.
        return "".join(letter.lower() for letter in text)
    return text
