"""Colours of the figures, as (light theme, dark theme).

Any two series differ under simulated protanopia, deuteranopia and tritanopia, and each has a
contrast of at least 3:1 with the page (tests/report/test_figures.py). Series differ in their
markers too.
"""

SERIES = (
    ("#0b63b0", "#62b0ff"),
    ("#b87508", "#f0d565"),
    ("#6b1f55", "#e0609a"),
    ("#1592a6", "#63e6b5"),
    ("#d2605f", "#b9784a"),
    ("#4a4a08", "#cacaf2"),
)
RIGHT = ("#0b63b0", "#62b0ff")
WRONG = ("#c8500a", "#ff9a52")
INK = ("#1c2127", "#e6e9ed")
MUTED = ("#5a6472", "#9aa4b1")
RULE = ("#e3e6ea", "#2d333b")


def css_variables() -> dict[str, tuple[str, str]]:
    """Returns the colours by the name of their CSS variable."""
    named = {"right": RIGHT, "wrong": WRONG, "ink": INK, "muted": MUTED, "rule": RULE}
    return named | {f"series-{i}": colour for i, colour in enumerate(SERIES)}
