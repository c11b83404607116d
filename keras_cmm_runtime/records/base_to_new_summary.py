"""The summary of base-to-new records."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from keras_cmm_runtime.records.summary import GROUP, summarize_and_average


def harmonic_mean(base: float, new: float) -> float:
    """Returns the harmonic mean of two accuracies in percent.

    Example:
        >>> round(harmonic_mean(80.0, 60.0), 2)
        68.57

    References:
        Xian et al., "Zero-Shot Learning: The Good, the Bad and the Ugly", CVPR 2017,
        arXiv:1703.04394.
    """
    return statistics.harmonic_mean([base, new])


def summarize_base_to_new(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Aggregates records of `run_base_to_new` over seeds, and over data sets.

    As in the tables of CoCoOp, accuracies are averaged first, and the harmonic mean is that of the
    averages.

    Args:
        records: The records, of one protocol and backbone.

    Returns:
        One row for each (dataset, protocol, backbone, method, shots), with `base`, `new` and
        `harmonic_mean` in percent and the number of `seeds`. If there are several data sets, rows
        of the data set "average" follow, one for each method and number of shots that all data
        sets have.

    Example:
        >>> record = {"dataset": "dtd", "protocol": "coop", "backbone": "ViT-B/16",
        ...           "method": "cmm", "shots": 16, "seed": 1, "base_top1": 80.0, "new_top1": 60.0}
        >>> (row,) = summarize_base_to_new([record])
        >>> row["base"], row["new"], round(row["harmonic_mean"], 1), row["seeds"]
        (80.0, 60.0, 68.6, 1)

    References:
        Zhou et al., "Conditional Prompt Learning", CVPR 2022, arXiv:2203.05557, table 1.
    """
    records = list(records)
    base_rows, new_rows = (
        summarize_and_average([{**record, "top1": record[half]} for record in records])
        for half in ("base_top1", "new_top1")
    )
    return [
        {field: base[field] for field in (*GROUP, "seeds")}
        | {
            "base": base["mean"],
            "new": new["mean"],
            "harmonic_mean": harmonic_mean(base["mean"], new["mean"]),
        }
        for base, new in zip(base_rows, new_rows, strict=True)
    ]
