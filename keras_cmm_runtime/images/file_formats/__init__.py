"""Checking image files before Pillow reads them.

Pillow is lenient with damage and generous with time. Each module here knows one format: what a
whole file of it has, and what bounds the time and memory that reading it takes.
"""

from keras_cmm_runtime.images.file_formats.boxes import check_boxes
from keras_cmm_runtime.images.file_formats.checked_file import CheckedFile
from keras_cmm_runtime.images.file_formats.gif import check_gif
from keras_cmm_runtime.images.file_formats.heif import open_heif
from keras_cmm_runtime.images.file_formats.jpeg import check_jpeg, is_cut_short
from keras_cmm_runtime.images.file_formats.orientation import exif_orientation, upright
from keras_cmm_runtime.images.file_formats.png import check_png
from keras_cmm_runtime.images.file_formats.raw import check_bmp, check_ppm
from keras_cmm_runtime.images.file_formats.tiff import check_tiff, describe_tiff
from keras_cmm_runtime.images.file_formats.webp import check_webp

__all__ = [
    "CheckedFile",
    "check_bmp",
    "check_boxes",
    "check_gif",
    "check_jpeg",
    "check_png",
    "check_ppm",
    "check_tiff",
    "check_webp",
    "describe_tiff",
    "exif_orientation",
    "is_cut_short",
    "open_heif",
    "upright",
]
