"""Small functions that several packages use, beside those of `keras_cmm_runtime.utils`."""

from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm.utils.shown_epochs import is_shown

__all__ = ["LazyRows", "is_shown"]
