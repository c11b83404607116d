"""A data set as the benchmark's runner takes it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation.protocol import make_task
from keras_cmm.evaluation.shifted_test_set import ShiftedTestSet
from keras_cmm.methods import FewShotTask


class BenchmarkData:
    """A data set to run methods on.

    Args:
        embedding_set: The embeddings.
        label: Name in messages, such as a file. Defaults to the name of the data set.
        also: Name of the embeddings of a second encoder, for the methods that use them, or `None`.
            The name of the backbone gets it too, as in "CLIP + dinov3", so that records tell both
            apart.

    Raises:
        InputError: If there are no embeddings of the name `also`.

    Attributes:
        embedding_set: The embeddings. A subclass can make them in `prepare`.
        label: See above.
        also: See above.
        largest_class: Number of train images of the largest class.
        shifts: Further test sets that are scored by what is trained on this data set.
    """

    label: str
    largest_class: int
    embedding_set: EmbeddingSet
    shifts: tuple[ShiftedTestSet, ...] = ()
    also: str | None = None

    def __init__(
        self, embedding_set: EmbeddingSet, label: str | None = None, also: str | None = None
    ) -> None:
        if also is not None:
            embedding_set.further(also)
            backbone = f"{embedding_set.backbone} + {also}"
            embedding_set = replace(embedding_set, backbone=backbone)
        self.also = also
        self.embedding_set = embedding_set
        self.label = embedding_set.dataset if label is None else label
        self.largest_class = int(np.bincount(embedding_set.train_labels).max())

    def prepare(self, draws: Iterable[tuple[int, int]]) -> None:
        """Makes `embedding_set` and `shifts` ready for tasks of these shots and seeds."""

    def task(self, shots: int, seed: int) -> FewShotTask:
        """Returns the few-shot task of a draw. Warnings about the draw name the data set."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            task = make_task(self.embedding_set, shots, seed, also=self.also)
        for warning in caught:
            warnings.warn(f"{self.label}: {warning.message}", warning.category, stacklevel=2)
        return task
