"""The picture of an explanation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from PIL import Image

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import shortened

_INK, _MUTED = "#1c2127", "#5a6472"
_COLOURS = "viridis"
_DPI = 150
_WIDTH = 8.0  # inches
# A picture is drawn at most so many pixels wide or high, and no taller for its width than this.
_MOST = 1024
_TALLEST = 2.0


def draw_explanation(explanation: Any) -> Image.Image:
    """Returns the picture beside the same picture with the heat map over it.

    Args:
        explanation: an `Explanation`.

    Raises:
        InputError: if the explanation has no heat map.
    """
    if explanation.heat_map is None:
        raise InputError("the explanation has no heat map to draw; explain with heat_map=True.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = explanation.image.copy()
    picture.thumbnail((_MOST, _MOST))
    # A large heat map is smooth, so it may be drawn from fewer pixels.
    heat = np.asarray(
        Image.fromarray(explanation.heat_map).resize(picture.size, Image.Resampling.BILINEAR)
    )
    title = _title(explanation)
    ratio = min(picture.height / picture.width, _TALLEST)
    # pyplot would keep every figure alive, and may need a display.
    figure = Figure(
        figsize=(_WIDTH, 0.44 * _WIDTH * ratio + 0.8 + 0.25 * title.count("\n")),
        dpi=_DPI,
        facecolor="white",
    )
    figure.set_layout_engine("constrained")
    canvas: Any = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    figure.suptitle(title, color=_INK, fontsize=13, parse_math=False)
    left.imshow(picture)
    left.set_xlabel("the picture", color=_MUTED)
    _draw_heat(figure, right, picture, heat)
    right.set_xlabel("what speaks for this class", color=_MUTED)
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _title(explanation: Any) -> str:
    title = f"{shortened(explanation.class_name, 60)}: {100 * explanation.probability:.1f}%"
    if explanation.class_name != explanation.predicted_class:
        title += f"\npredicted: {shortened(explanation.predicted_class, 60)}"
    return title


def _draw_heat(figure: Any, axes: Any, picture: Image.Image, heat: Any) -> None:
    # Grey under the colours, so that those of the picture are not taken for heat.
    axes.imshow(picture.convert("L"), cmap="gray", vmin=0, vmax=255)
    highest = max(float(heat.max()), 1e-12)
    shown = axes.imshow(np.clip(heat, 0, None), cmap=_COLOURS, vmin=0, vmax=highest, alpha=0.65)
    bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.02)
    bar.set_ticks([0, highest], labels=["nothing", "most"])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, colors=_MUTED, labelsize=9)
