"""`InputError`, for those who import it from here; it lies in `keras_cmm_runtime.errors`."""

from keras_cmm_runtime.errors import InputError

__all__ = ["InputError"]
