"""The critical-difference figure: mean ranks of methods over data sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_cmm.evaluation import MethodRanks, grouped, own_and_shifted, rank_methods
from keras_cmm.report import palette
from keras_cmm.report.accuracy_figures import Line
from keras_cmm.report.plot_style import new_figure, save_figure, set_title
from keras_cmm_runtime.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _RULE = palette.INK[0], palette.MUTED[0], palette.RULE[0]
_OWN, _OTHER = palette.SERIES[0][0], palette.MUTED[0]

# With fewer, Nemenyi's test is said to be too coarse an approximation.
_FEW_DATASETS = 10


def write_ranks(path: str | Path, records: Iterable[Mapping[str, Any]]) -> list[MethodRanks]:
    """Writes a critical-difference figure as PNG: mean ranks of methods over data sets.

    There is one panel for each number of shots. Methods under one bar cannot be told apart by
    Nemenyi's test at the level of 5 %. The figure says so where the data sets are too few to tell
    any two methods apart.

    Args:
        path: The file to write; an existing one is replaced.
        records: Records of `run_benchmark`, of one protocol and backbone. Those of shifted test
            sets and of transductive methods are left out.

    Returns:
        The ranks that the figure shows.

    Raises:
        InputError: If no number of shots has two data sets and three methods, the records are of
            several protocols or backbones, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> setting = {"protocol": "embeddings", "backbone": "ViT-B/32", "shots": 4, "seed": 1}
        >>> runs = [
        ...     setting | {"dataset": dataset, "method": method, "top1": top1}
        ...     for dataset in ("dtd", "pets")
        ...     for method, top1 in (("cmm", 70.0), ("gda", 60.0), ("proker", 65.0))
        ... ]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (ranks,) = write_ranks(f"{folder}/ranks.png", runs)
        >>> ranks.ranks, ranks.can_differ
        ({'cmm': 1.0, 'proker': 2.0, 'gda': 3.0}, False)
    """
    own, _ = own_and_shifted(each for each in records if not each.get("transductive"))
    if len(grouped(own, ("protocol", "backbone"))) > 1:
        raise InputError("ranks are of one protocol and one backbone; give the records of one.")
    found = rank_methods(own)
    if not found:
        raise InputError(
            "ranks need a number of shots with two data sets and three methods. "
            f"Received: {len(grouped(own, ('dataset',)))} data sets and "
            f"{len(grouped(own, ('method',)))} methods"
        )
    save_figure(_draw(found), Path(path))
    return found


def _draw(found: list[MethodRanks]) -> Figure:
    most = max(len(ranks.ranks) for ranks in found)
    bars = max(len(ranks.groups) for ranks in found)
    height = 1.5 + 0.24 * most + 0.16 * bars
    figure, axes = new_figure(8.0, height * len(found), rows=len(found))
    for ax, ranks in zip(axes, found, strict=True):
        _draw_panel(ax, ranks, bars)
    return figure


def _draw_panel(ax: Axes, ranks: MethodRanks, bars: int) -> None:
    names = list(ranks.ranks)
    half = (len(names) + 1) // 2
    for place, name in enumerate(names):
        is_left = place < half
        y = -1.0 - (place if is_left else len(names) - 1 - place) - 0.6 * bars
        rank, edge = ranks.ranks[name], 0.6 if is_left else len(names) + 0.4
        is_own = name == "cmm"
        colour, width = (_OWN, 1.8) if is_own else (_OTHER, 0.9)
        ax.plot([rank, rank, edge], [0, y, y], color=colour, linewidth=width)
        label = Line(name, 0, {}).label
        ax.text(
            edge,
            y,
            f"{label}  {rank:.1f} " if is_left else f" {rank:.1f}  {label}",
            ha="right" if is_left else "left",
            va="center",
            fontsize=9,
            fontweight="bold" if is_own else "normal",
            color=_INK,
            parse_math=False,
        )
    for number, group in enumerate(ranks.groups):
        ends = [ranks.ranks[group[0]] - 0.05, ranks.ranks[group[-1]] + 0.05]
        ax.plot(ends, [-0.5 - 0.6 * number] * 2, color=_INK, linewidth=3.2, solid_capstyle="butt")
    ax.set_xlim(-0.12 * len(names), 1.12 * len(names) + 1)
    ax.set_ylim(-1.6 - half - 0.6 * bars, 0.6)
    ax.xaxis.tick_top()
    ax.set_xticks(range(1, len(names) + 1))
    ax.set_yticks([])
    ax.spines["bottom"].set_visible(False)
    ax.plot([1, len(names)], [0, 0], color=_MUTED, linewidth=1.2)
    set_title(ax, _title(ranks))
    ax.set_xlabel(_caption(ranks), color=_MUTED, fontsize=9)


def _title(ranks: MethodRanks) -> str:
    shots = f"{ranks.shots} shot{'' if ranks.shots == 1 else 's'}"
    return f"{shots}: mean rank on {len(ranks.datasets)} data sets, 1 is best"


def _caption(ranks: MethodRanks) -> str:
    """Returns the test's result, and what so few data sets cannot tell."""
    lines = [
        f"Critical difference {ranks.critical_difference:.1f} (Nemenyi, 5 %), "
        f"Friedman p = {ranks.p_value:.2g}"
    ]
    if not ranks.can_differ:
        lines.append(
            f"{len(ranks.datasets)} data sets are too few to tell any two of "
            f"{len(ranks.ranks)} methods apart."
        )
    elif len(ranks.datasets) < _FEW_DATASETS:
        lines.append(
            f"{len(ranks.datasets)} data sets are few: methods under one bar may still differ."
        )
    return "\n".join(lines)
