"""A data set as the benchmark's runner takes it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation.protocol import make_task
from keras_cmm.evaluation.shifted_test_set import ShiftedTestSet
from keras_cmm.methods import FewShotTask


class BenchmarkData:
    """A data set to run methods on.

    A subclass can make its embeddings in `prepare`, when the runs are known.

    Args:
        embedding_set: The embeddings.
        label: What messages call the data set, such as its file. Defaults to its name.

    Attributes:
        label: See above.
        largest_class: Number of train images of the largest class.
        embedding_set: The embeddings. A subclass need not have them before `prepare`.
        shifts: Further test sets that are scored by what is trained on this one.

    Example:
        >>> import numpy as np
        >>> rows = {"train_embeddings": np.eye(2), "train_labels": np.arange(2)}
        >>> rows |= {"test_embeddings": np.eye(2), "test_labels": np.arange(2)}
        >>> names = {"class_names": ["ant", "bee"], "dataset": "bugs", "backbone": "CLIP"}
        >>> data = BenchmarkData(EmbeddingSet(text_embeddings=np.eye(2), **rows, **names))
        >>> data.label, data.largest_class, data.task(1, seed=1).labels
        ('bugs', 1, array([0, 1]))
    """

    label: str
    largest_class: int
    embedding_set: EmbeddingSet
    shifts: tuple[ShiftedTestSet, ...] = ()

    def __init__(self, embedding_set: EmbeddingSet, label: str | None = None) -> None:
        self.embedding_set = embedding_set
        self.label = embedding_set.dataset if label is None else label
        self.largest_class = int(np.bincount(embedding_set.train_labels).max())

    def prepare(self, draws: Iterable[tuple[int, int]]) -> None:
        """Makes `embedding_set` and `shifts` ready.

        Args:
            draws: Shots and seed of each task that will be asked for, zero-shot aside.

        Raises:
            InputError: If they cannot be made.
        """

    def task(self, shots: int, seed: int) -> FewShotTask:
        """Returns the few-shot task of this number of shots and seed.

        Warnings about the draw name the data set.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            task = make_task(self.embedding_set, shots, seed)
        for warning in caught:
            warnings.warn(f"{self.label}: {warning.message}", warning.category, stacklevel=2)
        return task
