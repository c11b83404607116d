"""Small functions that several packages use."""

from keras_cmm.utils.files import (
    TEMPORARY_FILES,
    read_json_object,
    read_lines,
    replacing,
    replacing_durably,
)
from keras_cmm.utils.items import items
from keras_cmm.utils.listed import listed
from keras_cmm.utils.regular_files import refuse_special_file, refuse_special_files
from keras_cmm.utils.same_names import same_names
from keras_cmm.utils.unit_rows import unit_rows
from keras_cmm.utils.warn import warn

__all__ = [
    "TEMPORARY_FILES",
    "items",
    "listed",
    "read_json_object",
    "read_lines",
    "refuse_special_file",
    "refuse_special_files",
    "replacing",
    "replacing_durably",
    "same_names",
    "unit_rows",
    "warn",
]
