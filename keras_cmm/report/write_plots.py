"""The figures of a report as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cmm.evaluation import MappedEmbeddings
from keras_cmm.report import accuracy_figures, classifier_figures, gap_figures, palette
from keras_cmm.report.classifier_result import ClassifierResult
from keras_cmm.report.plot_style import new_figure, save_figure, set_title
from keras_cmm.report.report_content import ReportContent
from keras_cmm_runtime.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In the order of the report's own markers.
_MARKERS = ("o", "s", "D", "^", "v", "X")
_INK, _MUTED, _RULE = palette.INK[0], palette.MUTED[0], palette.RULE[0]


def write_plots(directory: str | Path, content: ReportContent) -> list[Path]:
    """Writes the figures of a report as PNG, for slides and papers.

    The HTML report draws its figures itself, to fit the reader's theme and the width of the page.

    Args:
        directory: An existing folder. Files of the same names are replaced.
        content: What to show.

    Returns:
        The files that were written: `accuracy.png`, `class_accuracy.png`, `confusions.png` and
        `modality_gap.png`, each if `content` has something for it.

    Raises:
        InputError: If a file cannot be written.

    Example:
        >>> from keras_cmm.report import ReportContent, write_plots
        >>> write_plots(".", ReportContent("Nothing to draw"))
        []
    """
    figures: dict[str, Figure] = {}
    panels = [panel for panel in accuracy_figures.make_panels(content.records) if panel.lines]
    if panels:
        figures["accuracy"] = _draw_accuracy(panels)
    if content.classifier is not None:
        figures["class_accuracy"] = _draw_class_accuracy(content.classifier)
        if len(content.classifier.class_names) <= classifier_figures.MAX_CLASSES:
            figures["confusions"] = _draw_confusions(content.classifier)
    if content.embeddings is not None:
        figures["modality_gap"] = _draw_gap(content.embeddings)

    paths = []
    for name, figure in figures.items():
        paths.append(Path(directory) / f"{name}.png")
        save_figure(figure, paths[-1])
    return paths


def write_confusions(path: str | Path, result: ClassifierResult) -> None:
    """Writes a confusion matrix as PNG.

    Args:
        path: The file to write; an existing one is replaced.
        result: The predictions, of at most 150 classes.

    Raises:
        InputError: If there are more classes, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> result = ClassifierResult(["ant", "bee"], np.array([1]), np.array([[0.2, 0.8]]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_confusions(f"{folder}/confusions.png", result)
    """
    classes = len(result.class_names)
    if classes > classifier_figures.MAX_CLASSES:
        raise InputError(
            f"a picture of a confusion matrix shows at most {classifier_figures.MAX_CLASSES} "
            f"classes; write the matrix as CSV. Received: {classes} classes"
        )
    save_figure(_draw_confusions(result), Path(path))


def _draw_accuracy(panels: list[accuracy_figures.Panel]) -> Figure:
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(1.0 + 4.6 * columns, 0.4 + 3.4 * rows, columns, rows)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    handles: dict[str, Any] = {}
    for ax, panel in zip(axes, panels, strict=False):
        for line in panel.references:
            mean = line.points[0].mean
            handles[line.label] = ax.axhline(mean, color=_MUTED, linestyle="--", linewidth=1.2)
        for line in panel.lines:
            shots = sorted(line.points)
            handles[line.label] = ax.errorbar(
                shots,
                [line.points[number].mean for number in shots],
                [line.points[number].std for number in shots],
                color=palette.SERIES[line.colour][0],
                marker=_MARKERS[line.marker],
                markersize=5,
                linewidth=2.4 if line.is_own else 1.4,
                elinewidth=1.0,
                capsize=2.5,
                zorder=3 if line.is_own else 2,
            )
        ax.set_xscale("log", base=2)
        ax.set_xticks(panel.shots, [str(number) for number in panel.shots])
        ax.set_xticks([], minor=True)
        ax.set_xlabel("shots per class", color=_MUTED, fontsize=9)
        ax.grid(axis="y", color=_RULE)
        set_title(ax, f"{panel.title}: top-1 accuracy, %")
    legend = figure.legend(
        list(handles.values()), list(handles), loc="outside right upper", frameon=False, fontsize=9
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _draw_class_accuracy(result: ClassifierResult) -> Figure:
    scores = classifier_figures.class_scores(result)
    figure, (ax,) = new_figure(7.0, 0.8 + 0.17 * len(scores))
    places = np.arange(len(scores))
    ax.barh(places, [score.accuracy for score in scores], 0.7, color=palette.RIGHT[0])
    _name_ticks(ax, "y", [score.name for score in scores])
    ax.set(xlim=(0, 100), ylim=(len(scores) - 0.4, -0.6))
    ax.grid(axis="x", color=_RULE)
    ax.set_axisbelow(True)
    set_title(ax, "Accuracy by class, %")
    return figure


def _draw_confusions(result: ClassifierResult) -> Figure:
    from matplotlib.colors import to_rgb

    matrix = classifier_figures.count_confusions(result)
    totals = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    strength = np.sqrt(matrix / totals)[..., None]
    on_diagonal = np.eye(len(matrix), dtype=bool)[..., None]
    colours = np.where(on_diagonal, to_rgb(palette.RIGHT[0]), to_rgb(palette.WRONG[0]))
    side = float(np.clip(0.17 * len(matrix), 3.5, 15.0)) + 1.5
    figure, (ax,) = new_figure(side, side)
    ax.imshow(1.0 - strength * (1.0 - colours), interpolation="none")
    _name_ticks(ax, "x", result.class_names)
    _name_ticks(ax, "y", result.class_names)
    ax.tick_params(axis="x", labelrotation=90)
    ax.set_xlabel("taken for", color=_MUTED)
    ax.set_ylabel("class", color=_MUTED)
    return figure


def _draw_gap(embeddings: MappedEmbeddings) -> Figure:
    gaps = embeddings.modality_gaps()
    before, after, _ = gap_figures.project(embeddings)
    low, high = gap_figures.limits((before, after))
    height = 5.0 * float((high[1] - low[1]) / (high[0] - low[0]))
    figure, axes = new_figure(10.4, height + 0.9, columns=2)
    titles = ("Before the mapping", "After the mapping")
    for ax, projection, gap, title in zip(axes, (before, after), gaps, titles, strict=True):
        links = np.stack([projection.means, projection.texts], axis=1)
        ax.scatter(*projection.images.T, s=6, alpha=0.4, linewidths=0, color=palette.RIGHT[0])
        ax.plot(*links.transpose(2, 1, 0), color=_MUTED, linewidth=0.6, alpha=0.6)
        ax.scatter(*projection.texts.T, s=34, color=palette.WRONG[0], edgecolors="white", zorder=3)
        ax.spines["bottom"].set_visible(False)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], aspect="equal")
        set_title(ax, f"{title}: distance of the centroids {gap.centroid_distance:.3f}")
    axes[0].legend(
        [axes[0].collections[0], axes[0].collections[1]],
        ["images", "texts of the classes"],
        loc="best",
        frameon=False,
        fontsize=9,
    )
    return figure


def _name_ticks(ax: Axes, axis: str, names: Any) -> None:
    """Labels the ticks 0, 1, ... with class names. A `$` in a name begins no formula."""
    getattr(ax, f"set_{axis}ticks")(range(len(names)), names, fontsize=7, color=_INK)
    for label in getattr(ax, f"get_{axis}ticklabels")():
        label.set_parse_math(False)
