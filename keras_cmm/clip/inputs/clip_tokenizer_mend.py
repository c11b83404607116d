"""CLIP's tokenizer of keras-hub where TensorFlow is not installed."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def mend_clip_tokenizer() -> None:
    """Makes keras-hub's `CLIPTokenizer` work without TensorFlow, which it does not use.

    keras-hub 0.32 sets its vocabulary only in the part that needs TensorFlow, and then reads it in
    the part that does not. Its other tokenizers set it in both. With TensorFlow, this function
    changes nothing.

    References:
        keras-hub 0.32, models/clip/clip_tokenizer.py, `_set_vocabulary_and_merges_tokenizers`.
    """
    import keras_hub

    tokenizer = keras_hub.models.CLIPTokenizer
    set_both = tokenizer._set_vocabulary_and_merges_tokenizers

    def set_all(self: Any, vocabulary: Any, merges: Any) -> None:
        if self.vocabulary is None:
            self.vocabulary, self.merges = dict(vocabulary), merges
        set_both(self, vocabulary, merges)

    tokenizer._set_vocabulary_and_merges_tokenizers = set_all
