"""Warnings that name the user's line."""

import inspect
import warnings

_OURS = ("keras_cmm", "keras_cmm_runtime", "keras_cmm_server")


def warn(message: str) -> None:
    """Warns at the line outside our packages that called into them, however deep the call is.

    Args:
        message: The text of the `UserWarning`.
    """
    level = 1
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame = frame.f_back
        level += 1
    warnings.warn(message, stacklevel=level)
