"""Small functions that several packages use."""

from keras_cmm_runtime.utils.file_digests import (
    DIGESTS_FILE,
    add_digests,
    adding_files,
    check_digests,
    check_file_of,
    file_digest,
    foreign_files,
    read_digests,
    write_digests,
)
from keras_cmm_runtime.utils.files import (
    read_json_object,
    read_lines,
    replacing,
    replacing_durably,
)
from keras_cmm_runtime.utils.home import home_folder
from keras_cmm_runtime.utils.items import items
from keras_cmm_runtime.utils.listed import listed
from keras_cmm_runtime.utils.listening import bound_socket, is_loopback
from keras_cmm_runtime.utils.regular_files import refuse_special_file, refuse_special_files
from keras_cmm_runtime.utils.same_names import same_names
from keras_cmm_runtime.utils.shortened import shortened
from keras_cmm_runtime.utils.temporary_paths import TEMPORARY_FILES, temporary_in
from keras_cmm_runtime.utils.unit_rows import unit_rows
from keras_cmm_runtime.utils.warn import warn

__all__ = [
    "DIGESTS_FILE",
    "TEMPORARY_FILES",
    "add_digests",
    "adding_files",
    "bound_socket",
    "check_digests",
    "check_file_of",
    "file_digest",
    "foreign_files",
    "home_folder",
    "is_loopback",
    "items",
    "listed",
    "read_digests",
    "read_json_object",
    "read_lines",
    "refuse_special_file",
    "refuse_special_files",
    "replacing",
    "replacing_durably",
    "same_names",
    "shortened",
    "temporary_in",
    "unit_rows",
    "warn",
    "write_digests",
]
