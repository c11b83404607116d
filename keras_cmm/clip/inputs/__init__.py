"""Prompts, and the token ids that CLIP takes."""

from keras_cmm.clip.inputs.bpe_tokenizer import check_tokenizer, openai_tokenizer, read_tokenizer
from keras_cmm.clip.inputs.clip_tokenizer_mend import mend_clip_tokenizer
from keras_cmm.clip.inputs.prompts import (
    PROMPT_TEMPLATES,
    build_prompts,
    clean_class_name,
    read_descriptions,
    resolve_templates,
)
from keras_cmm.clip.inputs.sentence_pieces import (
    read_metaclip_2_tokenizer,
    read_siglip_tokenizer,
)
from keras_cmm.clip.inputs.tokenization import tokenize

__all__ = [
    "PROMPT_TEMPLATES",
    "build_prompts",
    "check_tokenizer",
    "clean_class_name",
    "mend_clip_tokenizer",
    "openai_tokenizer",
    "read_descriptions",
    "read_metaclip_2_tokenizer",
    "read_siglip_tokenizer",
    "read_tokenizer",
    "resolve_templates",
    "tokenize",
]
