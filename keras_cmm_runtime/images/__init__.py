"""Reading images, and preprocessing them as CLIP does."""

from keras_cmm_runtime.images.image_preprocessor import OPENAI_MEAN, OPENAI_STD, ImagePreprocessor
from keras_cmm_runtime.images.image_reading import file_bytes, image_name, is_one_image, read_image
from keras_cmm_runtime.images.image_view import ImageView

__all__ = [
    "OPENAI_MEAN",
    "OPENAI_STD",
    "ImagePreprocessor",
    "ImageView",
    "file_bytes",
    "image_name",
    "is_one_image",
    "read_image",
]
