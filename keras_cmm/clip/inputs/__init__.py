"""What CLIP takes: images, as pixels, and prompts, as token ids."""

from keras_cmm.clip.inputs.bpe_tokenizer import check_tokenizer, openai_tokenizer, read_tokenizer
from keras_cmm.clip.inputs.image_preprocessor import OPENAI_MEAN, OPENAI_STD, ImagePreprocessor
from keras_cmm.clip.inputs.image_reading import file_bytes, image_name, is_one_image, read_image
from keras_cmm.clip.inputs.prompts import (
    PROMPT_TEMPLATES,
    build_prompts,
    clean_class_name,
    read_descriptions,
    resolve_templates,
)
from keras_cmm.clip.inputs.tokenization import tokenize

__all__ = [
    "OPENAI_MEAN",
    "OPENAI_STD",
    "PROMPT_TEMPLATES",
    "ImagePreprocessor",
    "build_prompts",
    "check_tokenizer",
    "clean_class_name",
    "file_bytes",
    "image_name",
    "is_one_image",
    "openai_tokenizer",
    "read_descriptions",
    "read_image",
    "read_tokenizer",
    "resolve_templates",
    "tokenize",
]
