"""What fills in the templates of pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


def page_environment() -> jinja2.Environment:
    """Returns the environment of the templates, which escapes all that is filled in."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_cmm.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fact"] = _format_fact
    environment.filters["percent"] = _format_percent
    return environment


def _format_fact(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_format_fact(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_format_fact(item) for item in value)
    return str(value)


def _format_percent(share: float) -> str:
    if share < 0.005:
        return "<1\u2009%"
    return f"{100 * share:.0f}\u2009%"
