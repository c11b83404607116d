"""Checks of arguments that are one number."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

from keras_cmm_runtime.errors import InputError

# All computes in float32: more is infinite there, and less is 0.
_LARGEST, _SMALLEST = 3.4e38, 1.2e-38

_RANGES: dict[str, Callable[[Any], bool]] = {
    "": lambda value: True,
    "> 0": lambda value: value >= _SMALLEST,
    ">= 0": lambda value: value >= 0,
    "in [0, 1]": lambda value: 0 <= value <= 1,
    "in [0, 1)": lambda value: 0 <= value < 1,
}


def is_finite_number(value: Any) -> bool:
    """Whether a value is a number that is finite in float32; `True` is no number.

    Example:
        >>> is_finite_number(0.5), is_finite_number(float("inf")), is_finite_number(True)
        (True, False, False)
    """
    number: Any = value  # mypy knows no order of `Real`
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and bool(abs(number) <= _LARGEST)


def check_number(name: str, value: Any, allowed: str = "") -> None:
    """Refuses an argument that is no finite number, or out of range.

    Args:
        name: Its name.
        value: Its value.
        allowed: The range: "> 0", ">= 0", "in [0, 1]", "in [0, 1)", or "" for any number.

    Raises:
        InputError: If it is refused.

    Example:
        >>> check_number("alpha", -1, ">= 0")
        Traceback (most recent call last):
        ...
        keras_cmm_runtime.errors.InputError: `alpha` must be a float >= 0. Received: alpha=-1
    """
    if not is_finite_number(value) or not _RANGES[allowed](value):
        number: Any = value
        finite = "finite " if isinstance(value, Real) and abs(number) > _LARGEST else ""
        raise InputError(
            f"`{name}` must be a {finite}float {allowed}".rstrip() + f". Received: {name}={value!r}"
        )


def check_int(name: str, value: Any, least: int) -> None:
    """Refuses an argument that is no int, or too small.

    Args:
        name: Its name.
        value: Its value. `True` is no int.
        least: The smallest that is allowed.

    Raises:
        InputError: If it is refused.

    Example:
        >>> check_int("epochs", 0, 1)
        Traceback (most recent call last):
        ...
        keras_cmm_runtime.errors.InputError: `epochs` must be an int >= 1. Received: epochs=0
    """
    number: Any = value
    if not isinstance(value, Integral) or isinstance(value, bool) or number < least:
        raise InputError(f"`{name}` must be an int >= {least}. Received: {name}={value!r}")
