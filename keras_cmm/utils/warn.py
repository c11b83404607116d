"""Warnings that name the user's line."""

import inspect
import warnings


def warn(message: str) -> None:
    """Warns at the line outside `keras_cmm` that called into it, however deep the call is.

    Args:
        message: The text of the `UserWarning`.
    """
    level = 1
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == "keras_cmm":
        frame = frame.f_back
        level += 1
    warnings.warn(message, stacklevel=level)
