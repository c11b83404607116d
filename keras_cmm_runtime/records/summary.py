"""Mean and standard deviation of records over seeds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_cmm_runtime.metrics.wilson_interval import interval_of_accuracy

Row = Mapping[str, Any]

_NARROW = 2.0  # points; deviations over seeds are about as large

GROUP = ("dataset", "protocol", "backbone", "method", "shots")
_ACROSS_DATASETS = ("protocol", "backbone", "method", "shots")


def summarize(records: Iterable[Row]) -> list[dict[str, Any]]:
    """Aggregates records over seeds.

    Args:
        records: Records of `run_benchmark`.

    Returns:
        One row for each (dataset, protocol, backbone, method, shots), in order of appearance: the
        `mean` and `std` of top-1 in percent, and the number of `seeds`. `std` is the sample
        standard deviation, 0.0 for one seed. `interval` is the 95% interval of one run on few test
        images (`wilson_interval`, where it is wider than two points), otherwise `None`.

    Example:
        >>> group = {"dataset": "dtd", "protocol": "embeddings", "backbone": "ViT-B/32",
        ...          "method": "cmm", "shots": 4}
        >>> rows = summarize([group | {"seed": 1, "top1": 57.0}, group | {"seed": 2, "top1": 59.0}])
        >>> rows[0]["mean"], round(rows[0]["std"], 3), rows[0]["seeds"]
        (58.0, 1.414, 2)
    """
    return [
        dict(zip(GROUP, group, strict=True))
        | _mean_and_std([row["top1"] for row in found])
        | {"interval": _interval_of_run(found)}
        for group, found in grouped(records, GROUP).items()
    ]


def average_over_datasets(records: Iterable[Row]) -> list[dict[str, Any]]:
    """Averages top-1 over data sets of the same protocol and backbone.

    A method has an average at a number of shots only if every data set has a value there, so that
    averages of different methods can be compared.

    Args:
        records: Records of `run_benchmark`.

    Returns:
        Rows as of `summarize` with `dataset` "average". `mean` is the mean of the data sets'
        means. `std` is taken over the seeds that every data set has: each gives one average.

    Example:
        >>> group = {"protocol": "embeddings", "backbone": "ViT-B/32", "method": "cmm",
        ...          "shots": 4, "seed": 1}
        >>> dtd = group | {"dataset": "dtd", "top1": 60.0}
        >>> cars = group | {"dataset": "stanford_cars", "top1": 70.0}
        >>> rows = average_over_datasets([dtd, cars])
        >>> rows[0]["dataset"], rows[0]["mean"], rows[0]["std"]
        ('average', 65.0, 0.0)
    """
    datasets: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    groups: dict[tuple[Any, ...], dict[str, dict[int, float]]] = defaultdict(dict)
    for record in records:
        datasets[record["protocol"], record["backbone"]].add(record["dataset"])
        group = groups[tuple(record[field] for field in _ACROSS_DATASETS)]
        group.setdefault(record["dataset"], {})[record["seed"]] = record["top1"]
    rows = []
    for group_key, by_dataset in groups.items():
        protocol, backbone = group_key[:2]
        if set(by_dataset) != datasets[protocol, backbone]:
            continue
        shared_seeds = set.intersection(*(set(by_seed) for by_seed in by_dataset.values()))
        seeds = sorted(shared_seeds)
        averages = [statistics.fmean(each[seed] for each in by_dataset.values()) for seed in seeds]
        mean = statistics.fmean(statistics.fmean(each.values()) for each in by_dataset.values())
        rows.append(
            {"dataset": "average"}
            | dict(zip(_ACROSS_DATASETS, group_key, strict=True))
            | {**_mean_and_std(averages), "mean": mean, "interval": None}
        )
    return rows


def summarize_and_average(records: Iterable[Row]) -> list[dict[str, Any]]:
    """Returns the rows of `summarize`, then those of the average if there are several data sets."""
    records = list(records)
    rows = summarize(records)
    several = len({row["dataset"] for row in rows}) > 1
    return rows + average_over_datasets(records) if several else rows


def short_draws(records: Iterable[Row]) -> list[str]:
    """Returns one line that names the draws in which classes have fewer images than shots, or none.

    Example:
        >>> short_draws([{"dataset": "dtd", "shots": 4, "num_classes": 47, "support_rows": 180}])
        ['some classes have fewer training images: dtd 4-shot (180 of 188 images)']
    """
    short = {}
    for record in records:
        # Records of earlier versions lack these fields.
        wanted = record["shots"] * record.get("num_classes", 0)
        rows = record.get("support_rows", wanted)
        if rows < wanted:
            draw = f"{record.get('trained_on', record['dataset'])} {record['shots']}-shot"
            short[draw] = f"{draw} ({rows:,} of {wanted:,} images)"
    line = f"some classes have fewer training images: {', '.join(short.values())}"
    return [line] if short else []


def own_and_shifted(records: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Splits records into those of the data set of training and those of shifted test sets.

    The two have averages of their own.
    """
    own: list[Row] = []
    shifted: list[Row] = []
    for record in records:
        (shifted if "trained_on" in record else own).append(record)
    return own, shifted


def grouped(rows: Iterable[Row], fields: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    """Returns the rows grouped by the values of these fields, in order of appearance."""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[field] for field in fields)].append(row)
    return groups


def _interval_of_run(records: Sequence[Row]) -> tuple[float, float] | None:
    # Records of earlier versions do not have the number of test images.
    if len(records) > 1 or not records[0].get("test_rows"):
        return None
    low, high = interval_of_accuracy(records[0]["top1"], records[0]["test_rows"])
    return (low, high) if high - low > _NARROW else None


def _mean_and_std(values: list[float]) -> dict[str, float | int]:
    return {
        "mean": statistics.fmean(values) if values else 0.0,
        "std": statistics.stdev(values) if len(values) > 1 else 0.0,
        "seeds": len(values),
    }
