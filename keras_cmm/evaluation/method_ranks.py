"""Mean ranks of methods over data sets, and the difference that chance explains."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_cmm_runtime.records import grouped

Row = Mapping[str, Any]

LEVEL = 0.05


class MethodRanks(NamedTuple):
    """The mean rank of each method at one number of shots.

    Attributes:
        shots: Shots of each class.
        datasets: The data sets that the ranks are averaged over.
        ranks: Mean rank by method, the best first. The best possible is 1.
        critical_difference: Two methods whose mean ranks differ by less cannot be told apart at the
            level of 5 % (Nemenyi's test).
        p_value: That of Friedman's test that all methods are equal.
    """

    shots: int
    datasets: tuple[str, ...]
    ranks: dict[str, float]
    critical_difference: float
    p_value: float

    @property
    def can_differ(self) -> bool:
        """Whether so many data sets can tell any two of the methods apart."""
        return self.critical_difference < len(self.ranks) - 1

    @property
    def groups(self) -> list[list[str]]:
        """The largest groups of methods that cannot be told apart, the best first."""
        names = list(self.ranks)
        groups: list[list[str]] = []
        for start, name in enumerate(names):
            limit = self.ranks[name] + self.critical_difference
            group = [other for other in names[start:] if self.ranks[other] <= limit]
            if len(group) > 1 and not (groups and group[-1] == groups[-1][-1]):
                groups.append(group)
        return groups


def rank_methods(records: Iterable[Row]) -> list[MethodRanks]:
    """Ranks methods on each data set, and averages the ranks over data sets.

    A method's accuracy on a data set is its mean over the seeds. Methods of the same accuracy share
    their mean rank. Zero-shot CLIP, which has no shots, is ranked at every number of shots. A
    method that is missing on a data set is left out.

    Args:
        records: Records of `run_benchmark`, of one protocol and backbone.

    Returns:
        The ranks at each number of shots that two data sets and three methods or more have.

    Example:
        >>> runs = [
        ...     {"dataset": dataset, "shots": 4, "seed": 1, "method": method, "top1": top1}
        ...     for dataset in ("dtd", "pets") for method, top1 in zip("abc", (50.0, 70.0, 60.0))
        ... ]
        >>> rank_methods(runs)[0].ranks
        {'b': 1.0, 'c': 2.0, 'a': 3.0}

    References:
        Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006.
    """
    means = {
        key: statistics.fmean(row["top1"] for row in rows)
        for key, rows in grouped(records, ("shots", "dataset", "method")).items()
    }
    found = []
    for shots in sorted({number for number, _, _ in means if number}):
        datasets = tuple(dict.fromkeys(name for number, name, _ in means if number == shots))
        tables = [
            {
                method: mean
                for (number, name, method), mean in means.items()
                if name == dataset and number in (0, shots)
            }
            for dataset in datasets
        ]
        methods = [name for name in tables[0] if all(name in table for table in tables)]
        if len(datasets) > 1 and len(methods) > 2:
            found.append(_ranked(shots, datasets, methods, tables))
    return found


def _ranked(
    shots: int, datasets: tuple[str, ...], methods: list[str], tables: list[dict[str, float]]
) -> MethodRanks:
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    accuracies = np.array([[table[method] for method in methods] for table in tables])
    mean_ranks = rankdata(-accuracies, axis=1).mean(axis=0)
    order = np.argsort(mean_ranks, kind="stable")
    count = len(methods)
    quantile = studentized_range.ppf(1 - LEVEL, count, math.inf) / math.sqrt(2)
    all_equal = bool((accuracies == accuracies[:, :1]).all())
    return MethodRanks(
        shots,
        datasets,
        {methods[place]: float(mean_ranks[place]) for place in order},
        float(quantile * math.sqrt(count * (count + 1) / (6 * len(datasets)))),
        # Friedman's statistic of ties alone is 0 / 0.
        1.0 if all_equal else float(friedmanchisquare(*accuracies.T).pvalue),
    )
