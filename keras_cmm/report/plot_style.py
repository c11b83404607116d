"""How the PNG figures look, and how they are saved."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_cmm.report import palette
from keras_cmm_runtime.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 160


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, Any]:
    """Returns a figure of so many inches, and its axes as a flat array."""
    # pyplot would keep every figure alive, and may need a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax in axes:
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.spines["bottom"].set_color(palette.RULE[0])
        ax.tick_params(length=0, colors=palette.MUTED[0], labelsize=9)
    return figure, axes


def set_title(ax: Axes, title: str) -> None:
    """Writes a title. A `$` in it begins no formula."""
    ax.set_title(
        title, loc="left", fontsize=10, fontweight="bold", color=palette.INK[0], parse_math=False
    )


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all.

    Raises:
        InputError: If the file cannot be written.
    """
    with replacing(path) as file, warnings.catch_warnings():
        # The font of matplotlib lacks many scripts. The HTML report shows names in all of them.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # By the description a command knows what it wrote.
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Description": "keras-cmm figure"})
