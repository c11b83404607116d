"""Options of commands that may answer "unknown", or with a set of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm import CMMImageClassifier

_RATE = click.FloatRange(0, 1, min_open=True, max_open=True)


def unknowns_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--reject` and `--coverage`."""
    reject = click.option(
        "--reject",
        type=_RATE,
        metavar="RATE",
        help='Say "unknown" of images that are less like the classes than all but this part of '
        "held-out training images, such as 0.05. The number beside it is the part of these images "
        "that are more like the classes.",
    )
    coverage = click.option(
        "--coverage",
        type=_RATE,
        metavar="RATE",
        help="Name as many classes for each image as it takes to hold the right one with this "
        "probability, such as 0.9, instead of --top-k.",
    )
    return reject(coverage(command))


def named_classes(
    classifier: CMMImageClassifier,
    embeddings: npt.NDArray[np.floating],
    top_k: int,
    reject: float | None,
    coverage: float | None,
) -> list[list[tuple[str, float]]]:
    """Returns `(class name, probability)` pairs for each image, the most probable first."""
    named = classifier.classify_embeddings(embeddings, top_k, reject)
    if coverage is None:
        return named
    sets = classifier.predict_sets_of_embeddings(embeddings, coverage)
    if reject is None:
        return sets
    unknown = classifier.head.is_unknown(embeddings, reject)
    return [
        best if is_unknown else within
        for best, within, is_unknown in zip(named, sets, unknown, strict=True)
    ]
