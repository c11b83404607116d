"""What is measured of a fitted method on a test set, some rows at a time."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from keras_cmm.evaluation.mapped_embeddings import MappedEmbeddings
from keras_cmm.evaluation.shifted_test_set import ShiftedTestSet
from keras_cmm.methods import CMM, FewShotMethod
from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm_runtime.metrics.accuracy import confidence_error, top_1
from keras_cmm_runtime.utils.unit_rows import unit_rows

Rows = npt.NDArray[np.float32]

# Logits at a time: 64 MiB, whatever the size of the test set.
_BLOCK = 1 << 24


def measure_on(
    fitted: FewShotMethod, test: ShiftedTestSet, also_rows: npt.NDArray[Any] | None = None
) -> tuple[dict[str, float], float]:
    """Measures top-1 and the calibration errors, and for CMM the cosines of the modality gap.

    The test rows are read and predicted in blocks, so they may be mapped from a file.

    Args:
        fitted: The method.
        test: The test set.
        also_rows: Embeddings of the test images by a second encoder, or `None`.

    Returns:
        The measures by their names in a record, and the seconds that the predictions took.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.methods import FewShotTask, ZeroShot
        >>> eye, ids = np.eye(2, dtype="float32"), np.arange(2)
        >>> task = FewShotTask(eye[:0], ids[:0], eye, logit_scale=100.0, shots=0, seed=1)
        >>> test = ShiftedTestSet("bugs", eye, ids, ids)
        >>> measure_on(ZeroShot().fit(task), test)[0]["top1"]
        100.0
    """
    sums: defaultdict[str, float] = defaultdict(float)
    is_right: list[npt.NDArray[np.bool_]] = []
    confidences: dict[str, list[npt.NDArray[np.floating]]] = {"ece": []}
    temperatures = {"ece": 1.0}
    if fitted.temperature_ is not None:
        confidences["ece_calibrated"] = []
        temperatures["ece_calibrated"] = fitted.temperature_
    images, predict_seconds = LazyRows(test.embeddings).unit(slice(None)), 0.0
    step = max(1, _BLOCK // len(test.classes))
    for first in range(0, len(test.labels), step):
        block = slice(first, first + step)
        rows, labels = np.asarray(images[block]), test.labels[block]
        also = None if also_rows is None else unit_rows(also_rows[block])
        start = time.perf_counter()
        logits = predict_logits(fitted, rows, also)
        predict_seconds += time.perf_counter() - start
        logits = logits[:, test.classes]
        sums["top1"] += len(labels) * top_1(logits, labels)
        is_right.append(logits.argmax(axis=1) == labels)
        for name, temperature in temperatures.items():
            confidences[name].append(softmax(logits / temperature, axis=1).max(axis=1))
        if isinstance(fitted, CMM):
            joined = rows if also is None else np.concatenate([rows, also], axis=1)
            mapped = MappedEmbeddings.from_head(fitted.model_, joined, labels, test.classes)
            for prefix, gap in zip(("", "mapped_"), mapped.modality_gaps(), strict=True):
                sums[f"{prefix}own_cosine"] += len(labels) * gap.own_cosine
                sums[f"{prefix}hardest_wrong_cosine"] += len(labels) * gap.hardest_wrong_cosine
    # It is NaN where all classes share one text, and JSON has no NaN.
    measures = {k: total / len(test.labels) for k, total in sums.items() if not math.isnan(total)}
    for name, parts in confidences.items():
        measures[name] = confidence_error(np.concatenate(parts), np.concatenate(is_right))
    return measures, predict_seconds


def predict_logits(fitted: FewShotMethod, embeddings: Rows, also_rows: Rows | None) -> Rows:
    """Returns the logits of a method, from a second encoder too where there is one that it uses."""
    if also_rows is None or not fitted.uses_also:
        return fitted.predict_logits(embeddings)
    return fitted.predict_logits(embeddings, also_rows)
