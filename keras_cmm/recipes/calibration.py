"""Probabilities that mean something: one temperature, fitted on rows that were not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.recipes.head import Head
from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm_runtime.unknowns import HeldOutScores

# One number needs no more, and 21,000 rows of as many classes would take gigabytes.
_MAX_ROWS = 2000

# Logits that are looked at at a time.
_BLOCK = 1 << 21

# Standard deviation of the temperature's logarithm before any row is seen. A few rows that are all
# right would sharpen without end, and a few that are wrong would flatten as far.
_PRIOR_DEVIATION = 0.5


def fit_temperature(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """Returns the temperature that makes `softmax(logits / temperature)` fit the labels best.

    Few rows say little: the fewer there are, the nearer it stays to 1.

    Args:
        logits: `(rows, classes)`, of rows that the classifier was not trained on.
        labels: `(rows,)` class ids.

    Returns:
        The most probable temperature from 0.1 to 10, for a log-normal prior around 1. With many
        rows it is that of least cross-entropy.

    Example:
        >>> import numpy as np
        >>> logits = np.tile(4.0 * np.eye(2)[[0, 0, 0, 1]], (1000, 1))
        >>> round(fit_temperature(logits, np.tile([0, 0, 1, 1], 1000)), 1)
        3.6

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.
    """
    from scipy.optimize import minimize_scalar

    def improbability(log_temperature: float) -> float:
        prior = 0.5 * (log_temperature / _PRIOR_DEVIATION) ** 2
        losses = _losses(logits, labels, float(np.exp(log_temperature)))
        return float((prior + losses.sum()) / len(labels))

    found = minimize_scalar(improbability, bounds=(np.log(0.1), np.log(10.0)), method="bounded")
    return float(np.exp(found.x))


def held_out_scores(
    logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], temperature: float
) -> HeldOutScores:
    """Returns the scores of rows that the classifier was not trained on.

    Args:
        logits: `(rows, classes)`; the first 2,000 rows are used.
        labels: `(rows,)` class ids.
        temperature: what the logits are divided by.

    Example:
        >>> held_out_scores(np.array([[9.0, 0.0], [9.0, 0.0]]), np.array([0, 1]), 9.0).own
        array([0.26894143, 0.7310586 ], dtype=float32)
    """
    from scipy.special import softmax

    best, own = [], []
    for block in _blocks(logits[:_MAX_ROWS]):
        probabilities = softmax(np.asarray(logits[block], dtype="float64") / temperature, axis=1)
        best.append(probabilities.max(axis=1))
        own.append(probabilities[np.arange(len(probabilities)), labels[block]])
    return HeldOutScores(np.concatenate(best), np.concatenate(own))


def _blocks(logits: npt.NDArray[Any]) -> Iterator[slice]:
    """Yields rows whose logits in float64 take no more than 16 MiB."""
    step = max(1, _BLOCK // logits.shape[1])
    for first in range(0, len(logits), step):
        yield slice(first, min(first + step, len(logits)))


def calibrate_head(
    head: Head,
    judge: Head,
    embeddings: npt.NDArray[np.floating[Any]] | LazyRows,
    labels: npt.NDArray[Any],
    seed: int,
) -> None:
    """Sets the temperature of a head, and how sure it is of rows that it was not trained on.

    Args:
        head: the head.
        judge: a head that was not trained on the rows: `head` itself, or a second one.
        embeddings: `(rows, dim)`; at most 2,000 of them, drawn by `seed`, are used.
        labels: `(rows,)` class ids.
        seed: Seed of the draw.
    """
    logits, labels = _judged(judge, embeddings, labels, seed)
    head.temperature = fit_temperature(logits, labels)
    head.held_out_scores = held_out_scores(logits, labels, head.temperature)


def is_more_probable(
    judge: Head,
    other: Head,
    embeddings: npt.NDArray[np.floating[Any]] | LazyRows,
    labels: npt.NDArray[Any],
    seed: int,
) -> bool:
    """Returns whether a head finds labels more probable than another one does.

    Each has the temperature that fits best. The mean of the differences must be larger than twice
    its standard error.

    Args:
        judge: the head. Neither was trained on the rows.
        other: the other head.
        embeddings: `(rows, dim)`; at most 2,000 of them, drawn by `seed`, are used.
        labels: `(rows,)` class ids.
        seed: Seed of the draw.
    """
    losses = []
    for head in (judge, other):
        logits, own = _judged(head, embeddings, labels, seed)
        losses.append(_losses(logits, own, fit_temperature(logits, own)))
    gains = losses[1] - losses[0]
    return bool(gains.mean() > 2 * gains.std() / len(gains) ** 0.5)


def _judged(
    judge: Head, embeddings: npt.NDArray[Any] | LazyRows, labels: npt.NDArray[Any], seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Returns a head's logits of at most 2,000 of the rows, and their labels."""
    rows = np.random.default_rng(seed).permutation(len(labels))[:_MAX_ROWS]
    logits = judge.predict(np.asarray(embeddings[rows]), batch_size=256, verbose=0)
    return logits, np.asarray(labels)[rows]


def _losses(
    logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], temperature: float
) -> npt.NDArray[np.float64]:
    """Returns the cross-entropy of each row, `(rows,)`."""
    from scipy.special import log_softmax

    losses = []
    for block in _blocks(logits):
        scaled = np.asarray(logits[block], dtype="float64") / temperature
        losses.append(-log_softmax(scaled, axis=1)[np.arange(len(scaled)), labels[block]])
    return np.concatenate(losses)


def held_out_rows(
    labels: npt.NDArray[np.integer], seed: int, shots: int | None = None
) -> npt.NDArray[np.bool_]:
    """Draws rows of a support set to hold out: a quarter of the shots, 1 to 4 rows a class.

    Every class keeps a row to train on, so one with a single row gives none.

    Args:
        labels: `(rows,)` class ids.
        seed: Seed of the draw.
        shots: Shots that were asked for; `None` takes the rows of the largest class.

    Returns:
        bool `(rows,)`, true for the rows that are held out.

    Example:
        >>> import numpy as np
        >>> held_out_rows(np.array([0, 0, 1]), seed=0).sum()
        np.int64(1)
    """
    shots = int(np.bincount(labels).max(initial=0)) if shots is None else shots
    per_class = max(1, min(4, shots // 4))
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    order = np.argsort(labels, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        held_out[generator.permutation(rows)[: min(per_class, len(rows) - 1)]] = True
    return held_out
