"""Regret: how far a method is behind the best of the others."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from keras_cmm_runtime.records.summary import grouped

Row = Mapping[str, Any]

# CMM in all its recipes: none is a peer of another.
_OURS = ("cmm", "cmm_plain")

_AVERAGE = "average"


class Regret(NamedTuple):
    """The top-1 accuracy of the best peer minus that of a method, in points.

    Attributes:
        dataset: The data set, or "average": the accuracies are then averaged over data sets first.
        shots: Shots of each class.
        peer: The peer with the highest mean over the seeds.
        mean: Its mean minus the method's. Below 0 the method leads.
        by_seed: For each seed the best peer of that seed minus the method.
    """

    dataset: str
    shots: int
    peer: str
    mean: float
    by_seed: dict[int, float]


def find_regrets(records: Iterable[Row], method: str = "cmm") -> list[Regret]:
    """Returns how far a method is behind the best peer, on each data set at each number of shots.

    A peer is any other method but CMM with another recipe. It counts where it has the seeds of the
    method. Zero-shot CLIP, which has neither shots nor seeds, counts everywhere.

    Args:
        records: Records of `run_benchmark`, of one protocol and backbone.
        method: The method.

    Returns:
        One regret for each data set and number of shots at which there is a peer, in order of
        appearance. Where several data sets have the number of shots, their average follows, with
        the peers and seeds that all of them have.

    Example:
        >>> run = {"dataset": "dtd", "shots": 4, "seed": 1}
        >>> own, peer = run | {"method": "cmm", "top1": 60.0}, run | {"method": "gda", "top1": 59.0}
        >>> find_regrets([own, peer])
        [Regret(dataset='dtd', shots=4, peer='gda', mean=-1.0, by_seed={1: -1.0})]
    """
    tables = _accuracies(list(records), method)
    regrets: list[Regret | None] = [
        _regret(dataset, number, table, method) for (dataset, number), table in tables.items()
    ]
    shots = dict.fromkeys(number for _, number in tables)
    for number in shots:
        found = [table for (_, other), table in tables.items() if other == number]
        if len(found) > 1:
            regrets.append(_regret(_AVERAGE, number, _averaged(found), method))
    return [regret for regret in regrets if regret is not None]


# Top-1 by method and by seed.
_Table = dict[str, dict[int, float]]


def _accuracies(records: Sequence[Row], method: str) -> dict[tuple[str, int], _Table]:
    """Returns, for each data set and number of shots of the method, what there is to compare."""
    tables: dict[tuple[str, int], _Table] = {}
    by_method = grouped(records, ("dataset", "shots", "method"))
    for (dataset, shots, name), own in by_method.items():
        if name != method or not shots:
            continue
        seeds = [row["seed"] for row in own]
        table: _Table = {}
        for (other_dataset, other_shots, peer), rows in by_method.items():
            if other_dataset != dataset or (peer in _OURS and peer != method):
                continue
            values = {row["seed"]: float(row["top1"]) for row in rows}
            if other_shots == 0:
                (value,) = set(values.values())
                table[peer] = dict.fromkeys(seeds, value)
            elif other_shots == shots and set(seeds) <= set(values):
                table[peer] = {seed: values[seed] for seed in seeds}
        tables[dataset, shots] = table
    return tables


def _averaged(tables: Sequence[_Table]) -> _Table:
    """Returns the average over data sets, of the methods and seeds that all have."""
    methods = [name for name in tables[0] if all(name in table for table in tables)]
    averaged = {}
    for name in methods:
        seeds = [seed for seed in tables[0][name] if all(seed in table[name] for table in tables)]
        averaged[name] = {
            seed: statistics.fmean(table[name][seed] for table in tables) for seed in seeds
        }
    return averaged


def _regret(dataset: str, shots: int, table: _Table, method: str) -> Regret | None:
    own = table[method]
    peers = {name: values for name, values in table.items() if name != method}
    if not peers or not own:
        return None
    means = {name: statistics.fmean(values.values()) for name, values in peers.items()}
    best = max(means, key=means.__getitem__)
    by_seed = {seed: max(values[seed] for values in peers.values()) - own[seed] for seed in own}
    return Regret(dataset, shots, best, means[best] - statistics.fmean(own.values()), by_seed)
