"""Small functions that several packages use."""

from keras_cmm.utils.files import (
    TEMPORARY_FILES,
    read_json_object,
    read_lines,
    replacing,
    replacing_durably,
)
from keras_cmm.utils.listed import listed
from keras_cmm.utils.same_names import same_names
from keras_cmm.utils.shortened import shortened
from keras_cmm.utils.shown_epochs import is_shown
from keras_cmm.utils.unit_rows import unit_rows
from keras_cmm.utils.warn import warn

__all__ = [
    "TEMPORARY_FILES",
    "is_shown",
    "listed",
    "read_json_object",
    "read_lines",
    "replacing",
    "replacing_durably",
    "same_names",
    "shortened",
    "unit_rows",
    "warn",
]
