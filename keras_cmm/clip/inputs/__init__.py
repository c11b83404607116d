"""What CLIP reads: pictures, brought to pixels, and prompts, brought to token ids."""

from keras_cmm.clip.inputs.image_preprocessor import ImagePreprocessor
from keras_cmm.clip.inputs.image_reading import file_bytes, image_name, is_one_image, read_image
from keras_cmm.clip.inputs.prompts import (
    PROMPT_TEMPLATES,
    build_prompts,
    read_descriptions,
    resolve_templates,
)

__all__ = [
    "PROMPT_TEMPLATES",
    "ImagePreprocessor",
    "build_prompts",
    "file_bytes",
    "image_name",
    "is_one_image",
    "read_descriptions",
    "read_image",
    "resolve_templates",
]
