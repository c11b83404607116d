"""Accuracy over shots: panels of benchmark records, and the coordinates of their charts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from keras_cmm.evaluation import (
    average_over_datasets,
    grouped,
    own_and_shifted,
    short_draws,
    summarize,
)
from keras_cmm.report.palette import SERIES

NUM_STYLES = len(SERIES)

_OWN = "cmm"
_LABELS = {
    "cmm": "CMM",
    "zero_shot": "Zero-shot CLIP",
    "nearest_mean": "Nearest mean",
    "linear_probe": "Linear probe",
    "tip_adapter": "Tip-Adapter",
    "tip_adapter_f": "Tip-Adapter-F",
    "cmm_plain": "CMM, plain recipe",
    "clip_adapter": "CLIP-Adapter",
    "task_res": "TaskRes",
    "lp_plus_plus": "LP++",
    "clap": "CLAP",
    "gda": "GDA",
    "proker": "ProKeR",
    "lfa": "LFA",
    "rla": "RLA (ProLIP)",
    "hoso_adapter": "HOSO-Adapter",
    "prototype_mixing": "Prototype mixing",
}

# A chart is as wide as the page allows, so x is in percent of its width; y is in pixels.
CHART_HEIGHT = 300
_TOP, _BOTTOM = 20, 252
_LEFT, _RIGHT = 14.0, 95.0
# Distance in pixels of the error bars of two methods at the same shots. A chart of a single number
# of shots has no lines to keep together, and much room.
_DODGE, _WIDE_DODGE = 5, 24


class Point(NamedTuple):
    """Top-1 accuracy of one method at one number of shots, in percent.

    `interval` is that of one run on few images, see `summarize`.
    """

    mean: float
    std: float
    seeds: int
    interval: tuple[float, float] | None = None


class Line(NamedTuple):
    """Accuracy of one method by number of shots. `style` chooses its colour and marker."""

    method: str
    style: int
    points: dict[int, Point]

    @property
    def label(self) -> str:
        """The method's name for people."""
        return _LABELS.get(self.method, self.method.replace("_", " "))

    @property
    def has_shots(self) -> bool:
        """Whether the method is trained on shots; if not, it is drawn as a level."""
        return any(self.points)

    @property
    def is_own(self) -> bool:
        """Whether the method is CMM."""
        return self.method == _OWN

    @property
    def colour(self) -> int:
        """Index into the palette's series."""
        return self.style % NUM_STYLES

    @property
    def marker(self) -> int:
        """Index of the marker. Methods of the same colour have different markers."""
        return (self.style + self.style // NUM_STYLES) % NUM_STYLES


class Panel(NamedTuple):
    """Results on one data set, or their average. `references` are methods without shots."""

    title: str
    is_average: bool
    details: str
    shots: list[int]
    lines: list[Line]
    references: list[Line]
    notes: list[str]

    def best(self, shots: int) -> float:
        """Returns the highest mean at `shots`, as printed."""
        return max(round(line.points[shots].mean, 1) for line in self.lines if shots in line.points)


def make_panels(records: Iterable[Mapping[str, Any]]) -> list[Panel]:
    """Returns one panel for each data set, protocol and backbone, after the average of several.

    Shifted test sets have an average of their own.
    """
    records = list(records)
    trained = dict.fromkeys(record["method"] for record in records if record["shots"])
    ordered = sorted(trained, key=lambda method: method != _OWN)
    styles = {method: style for style, method in enumerate(ordered)}

    panels = []
    for same, kind in zip(own_and_shifted(records), ("data sets", "shifts"), strict=True):
        by_dataset = grouped(same, ("dataset", "protocol", "backbone"))
        for setting, found in grouped(same, ("protocol", "backbone")).items():
            count = sum(key[1:] == setting for key in by_dataset)
            averages = average_over_datasets(found)
            if count > 1 and averages:
                title = f"Average of {count} {kind}"
                panels.append(_make_panel(title, found, averages, styles))
        for key, found in by_dataset.items():
            panels.append(_make_panel(key[0], found, summarize(found), styles))
    return panels


def chart(panel: Panel) -> dict[str, Any]:
    """Returns the coordinates of the chart of a panel."""
    low, high, step = _axis(panel)

    def y(value: float) -> float:
        return round(_BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP), 1)

    x = _positions(panel.shots)
    step_aside = _DODGE if len(panel.shots) > 1 else _WIDE_DODGE
    lines = []
    for i, line in enumerate(panel.lines):
        points = [
            {
                "x": x[shots],
                "y": y(point.mean),
                "top": y(min(100.0, point.mean + point.std)),
                "bottom": y(max(0.0, point.mean - point.std)),
                "shots": shots,
                "point": point,
            }
            for shots, point in sorted(line.points.items())
        ]
        dodge = round((i - (len(panel.lines) - 1) / 2) * step_aside, 1)
        lines.append({"line": line, "dodge": dodge, "points": points})
    ticks = [low + i * step for i in range(round((high - low) / step) + 1)]
    return {
        "height": CHART_HEIGHT,
        "bottom": _BOTTOM,
        "y_ticks": [{"y": y(tick), "label": f"{tick:g}"} for tick in ticks],
        "x_ticks": [{"x": x[shots], "label": str(shots)} for shots in panel.shots],
        "lines": lines,
        "references": [
            {"line": line, "y": y(line.points[0].mean), "point": line.points[0]}
            for line in panel.references
        ],
    }


def _make_panel(
    title: str,
    records: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    styles: Mapping[str, int],
) -> Panel:
    points: dict[str, dict[int, Point]] = defaultdict(dict)
    references = []
    most = max(row["seeds"] for row in rows)
    for row in rows:
        # A panel over several seeds shows deviations alone.
        interval = row["interval"] if most == 1 else None
        point = Point(row["mean"], row["std"], row["seeds"], interval)
        if row["shots"]:
            points[row["method"]][row["shots"]] = point
        else:
            references.append(Line(row["method"], 0, {0: point}))
    return Panel(
        title=title,
        is_average=rows[0]["dataset"] == "average",
        details=f"protocol {rows[0]['protocol']}, {rows[0]['backbone']}, {_count_seeds(rows)}",
        shots=sorted({number for line in points.values() for number in line}),
        lines=[
            Line(method, style, points[method])
            for method, style in styles.items()
            if method in points
        ],
        references=references,
        notes=short_draws(records),
    )


def _count_seeds(rows: Sequence[Mapping[str, Any]]) -> str:
    counts = sorted({row["seeds"] for row in rows if row["shots"]}) or [1]
    return "1 seed" if counts == [1] else f"{'-'.join(map(str, counts))} seeds"


def _axis(panel: Panel) -> tuple[float, float, float]:
    """Returns the lowest tick, the highest tick and the step between ticks."""
    points = [point for line in panel.lines + panel.references for point in line.points.values()]
    low = max(0.0, min(point.mean - point.std for point in points))
    high = min(100.0, max(point.mean + point.std for point in points))
    step = next(step for step in (1, 2, 5, 10, 20) if high - low <= 5 * step or step == 20)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return low, high if high > low else low + step, step


def _positions(shots: Sequence[int]) -> dict[int, float]:
    """Returns the place of each number of shots on a logarithmic axis."""
    if len(shots) == 1:
        return {shots[0]: (_LEFT + _RIGHT) / 2}
    logs = [math.log2(number) for number in shots]
    return {
        number: round(_LEFT + (log - logs[0]) / (logs[-1] - logs[0]) * (_RIGHT - _LEFT), 2)
        for number, log in zip(shots, logs, strict=True)
    }
