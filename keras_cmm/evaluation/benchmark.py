"""The few-shot benchmark: every method on every data set, at every number of shots and seed."""

from __future__ import annotations

import importlib.metadata
import itertools
import math
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from keras_cmm.data import EmbeddingSet, FewShotSample, sample_few_shot
from keras_cmm.data.few_shot.few_shot_draws import sample_validation
from keras_cmm.errors import InputError
from keras_cmm.evaluation.mapped_embeddings import MappedEmbeddings
from keras_cmm.evaluation.metrics import calibration_error, top_1
from keras_cmm.evaluation.shifted_test_set import ShiftedTestSet
from keras_cmm.methods import CMM, METHODS, FewShotMethod, FewShotTask
from keras_cmm.utils.unit_rows import unit_rows

Shots = int | Literal["all"]


class Run(NamedTuple):
    """One method at one number of shots and seed; zero-shot has 0 and 0."""

    method: str
    shots: int
    seed: int


def make_task(
    embedding_set: EmbeddingSet,
    shots: Shots,
    seed: int,
    sample: FewShotSample | None = None,
    val_sample: FewShotSample | None = None,
) -> FewShotTask:
    """Draw one few-shot task from the train and validation rows of a data set.

    Validation is min(shots, 4) rows a class from the validation pool, else from the train rows that
    were not drawn. Where these are too few to cover half of the classes there is none, and methods
    hold part of the support set out (`keras_cmm.methods.selection`).

    Args:
        embedding_set: The data set. Its test rows are not touched.
        shots: Rows a class, "all", or 0 for an empty support set (zero-shot).
        seed: Seed of both draws and of the training.
        sample: A saved draw to repeat, instead of a new one.
        val_sample: A saved draw of validation rows, of the validation pool if there is one, else of
            the train rows.

    Returns:
        The task, in float32 and unit length. For "all" its `shots` is the largest number of support
        rows of any class.

    Raises:
        InputError: If `shots` or `seed` cannot be used, or `sample` or `val_sample` was drawn from
            other data.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float16")
        >>> data = EmbeddingSet(
        ...     train_embeddings=eye, train_labels=np.arange(2), test_embeddings=eye,
        ...     test_labels=np.arange(2), text_embeddings=eye, class_names=["ant", "bee"],
        ...     dataset="insects", backbone="CLIP",
        ... )
        >>> task = make_task(data, "all", seed=1)
        >>> task.shots, task.labels, task.embeddings.dtype, task.has_validation
        (1, array([0, 1]), dtype('float32'), False)

    References:
        The protocol of CoOp: Zhou et al., IJCV 2022, arXiv:2109.01134.
    """
    if shots == 0:
        rows = np.empty(0, dtype="int64")
    else:
        rows = _support_rows(embedding_set, shots, seed, sample)
    labels = embedding_set.train_labels[rows].astype(np.int64)
    largest = int(np.bincount(labels, minlength=1).max())
    val_embeddings, val_labels, val_source = _draw_validation(
        embedding_set, rows, largest, seed, val_sample
    )
    return FewShotTask(
        embeddings=unit_rows(embedding_set.train_embeddings[rows]),
        labels=labels,
        text_embeddings=unit_rows(embedding_set.text_embeddings),
        logit_scale=embedding_set.logit_scale,
        shots=largest if shots == "all" else shots,
        seed=seed,
        val_embeddings=val_embeddings,
        val_labels=val_labels,
        val_source=val_source,
    )


def run_benchmark(
    embedding_sets: Sequence[EmbeddingSet],
    methods: Sequence[str],
    shots: Sequence[Shots],
    seeds: Sequence[int],
    on_record: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Fit and test every method on every data set, at every number of shots and seed.

    Test rows are used by `predict_logits` alone, after `fit`. Zero-shot gives one record a data
    set, with shots 0 and seed 0. Where all classes of a data set have fewer train rows than `shots`
    the run would repeat a smaller one under another name: it is left out, with a warning. So is a
    run that its method refuses, such as a linear probe where all support rows are of one class.

    Args:
        embedding_sets: The data sets.
        methods: Keys of `keras_cmm.methods.METHODS`.
        shots: Numbers of rows a class, 1 or more, or "all".
        seeds: Seeds of the draws and of the training, from 0 to 2**32 - 1.
        on_record: Called with each record as soon as there is one.

    Returns:
        Flat JSON-able records {dataset, protocol, backbone, method, shots, seed, num_classes,
        support_rows, top1 (percent), ece, fit_seconds, predict_seconds, hyperparameters, versions}.
        `support_rows` is below shots * num_classes where classes have fewer train rows. Methods
        that fit a temperature also have ece_calibrated, and CMM the mean cosines of test images to
        their own and to the hardest wrong prototype before (own_cosine, hardest_wrong_cosine) and
        after the mapping (mapped_...), the latter where there is a prototype with another text.

    Raises:
        InputError: If a method is unknown, `shots` or a seed cannot be used, two data sets have
            the same name, protocol and backbone, or the methods refuse every run.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float16")
        >>> data = EmbeddingSet(
        ...     train_embeddings=eye, train_labels=np.arange(2), test_embeddings=eye,
        ...     test_labels=np.arange(2), text_embeddings=eye, class_names=["ant", "bee"],
        ...     dataset="insects", backbone="CLIP",
        ... )
        >>> records = run_benchmark([data], ["zero_shot", "nearest_mean"], shots=[1], seeds=[1])
        >>> [(record["method"], record["shots"], record["top1"]) for record in records]
        [('zero_shot', 0, 100.0), ('nearest_mean', 1, 100.0)]
    """
    _check_arguments(embedding_sets, methods, shots, seeds)
    # Records are JSON-able, whatever kind of integer was given.
    seeds = [int(seed) for seed in seeds]
    shots = [number if number == "all" else int(number) for number in shots]
    records: list[dict[str, Any]] = []
    refusal = None
    for embedding_set in embedding_sets:
        largest_class = int(np.bincount(embedding_set.train_labels).max())
        runs = plan_runs(embedding_set.dataset, largest_class, methods, shots, seeds)
        for draw, of_draw in itertools.groupby(runs, key=lambda run: run[1:]):
            task = make_task(embedding_set, *draw)
            for run in of_draw:
                try:
                    (record,) = run_task(embedding_set, task, run.method)
                except InputError as error:
                    refusal = error
                    warnings.warn(
                        f"{embedding_set.dataset}: {run.method}, {run.shots}-shot, seed "
                        f"{run.seed} left out. {error}",
                        stacklevel=2,
                    )
                    continue
                records.append(record)
                if on_record is not None:
                    on_record(record)
    if refusal is not None and not records:
        raise refusal
    return records


def plan_runs(
    dataset: str,
    largest_class: int,
    methods: Sequence[str],
    shots: Sequence[Shots],
    seeds: Sequence[int],
) -> list[Run]:
    """List the runs on one data set; those of the same shots and seed stand together.

    Args:
        dataset: Name of the data set, for the warning.
        largest_class: Number of train rows of the class that has most. What asks for more shots is
            left out, with a warning; "all" stands for this number.
        methods: As of `run_benchmark`.
        shots: As of `run_benchmark`.
        seeds: As of `run_benchmark`.

    Returns:
        The runs.

    Example:
        >>> runs = plan_runs("dtd", 8, ["zero_shot", "cmm", "gda"], shots=[8, "all"], seeds=[1])
        >>> [tuple(run) for run in runs]
        [('zero_shot', 0, 0), ('cmm', 8, 1), ('gda', 8, 1)]
    """
    numbers = []
    for number in shots:
        if number != "all" and number > largest_class:
            warnings.warn(
                f"{dataset}: {number}-shot runs left out, no class has more than {largest_class} "
                "train rows.",
                stacklevel=3,
            )
        else:
            numbers.append(largest_class if number == "all" else number)
    trained = [method for method in dict.fromkeys(methods) if method != "zero_shot"]
    runs = itertools.product(dict.fromkeys(numbers), dict.fromkeys(seeds), trained)
    zero_shot = [Run("zero_shot", 0, 0)] if "zero_shot" in methods else []
    return zero_shot + [Run(method, number, seed) for number, seed, method in runs]


def run_task(
    embedding_set: EmbeddingSet,
    task: FewShotTask,
    method: str,
    shifts: Sequence[ShiftedTestSet] = (),
) -> list[dict[str, Any]]:
    """Fit one method once, and test it on the data set and on shifted test sets.

    Args:
        embedding_set: The data set that the task was drawn from.
        task: The task, see `make_task`.
        method: A key of `keras_cmm.methods.METHODS`.
        shifts: Other test sets of the same classes, or of some of them.

    Returns:
        One record as of `run_benchmark` for the data set, and one for each shift, which says under
        `trained_on` what the method was fitted on.

    Raises:
        InputError: If the method refuses the task, or needs more memory than there is.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.evaluation import ShiftedTestSet
        >>> eye = np.eye(3, dtype="float32")
        >>> data = EmbeddingSet(
        ...     train_embeddings=eye, train_labels=np.arange(3), test_embeddings=eye,
        ...     test_labels=np.arange(3), text_embeddings=eye, class_names=["ant", "bee", "cat"],
        ...     dataset="insects", backbone="CLIP",
        ... )
        >>> sketches = ShiftedTestSet("sketches", eye[:2], np.array([0, 1]), np.array([0, 2]))
        >>> records = run_task(data, make_task(data, 1, seed=1), "nearest_mean", [sketches])
        >>> [(record["dataset"], record["top1"]) for record in records]
        [('insects', 100.0), ('sketches', 50.0)]
    """
    fitted, fit_seconds = fit_method(method, task)

    whole = ShiftedTestSet(
        embedding_set.dataset,
        embedding_set.test_embeddings,
        embedding_set.test_labels,
        np.arange(embedding_set.num_classes),
    )
    records = []
    for test in (whole, *shifts):
        embeddings = unit_rows(test.embeddings)
        start = time.perf_counter()
        logits = fitted.predict_logits(embeddings)
        predict_seconds = time.perf_counter() - start
        record = {
            "dataset": test.dataset,
            "protocol": embedding_set.protocol,
            "backbone": embedding_set.backbone,
            "method": method,
            "shots": task.shots,
            "seed": task.seed,
            "num_classes": task.num_classes,
            "support_rows": len(task.labels),
            **_measures(fitted, embeddings, logits[:, test.classes], test),
            "fit_seconds": fit_seconds,
            "predict_seconds": predict_seconds,
            "hyperparameters": fitted.hyperparameters_,
            "versions": versions(),
        }
        if test is not whole:
            record["trained_on"] = embedding_set.dataset
        records.append(record)
    return records


def fit_method(method: str, task: FewShotTask) -> tuple[FewShotMethod, float]:
    """Fit a method with the seed of the task.

    Args:
        method: A key of `keras_cmm.methods.METHODS`.
        task: The task.

    Returns:
        The fitted method, and the seconds that it took.

    Raises:
        InputError: If the method refuses the task, or needs more memory than there is.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> fit_method("nearest_mean", task)[0].predict_logits(eye).argmax(axis=1)
        array([0, 1])
    """
    keras.utils.set_random_seed(task.seed)
    start = time.perf_counter()
    try:
        fitted = METHODS[method]().fit(task)
    except (MemoryError, RuntimeError) as error:
        # Torch's errors of memory are RuntimeErrors.
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        raise InputError(
            f"`{method}` needs more memory than there is for {len(task.labels):,} support rows of "
            f"{task.num_classes:,} classes; give fewer shots, or leave it out. ({error})"
        ) from error
    return fitted, time.perf_counter() - start


def _measures(
    fitted: FewShotMethod,
    embeddings: npt.NDArray[np.float32],
    logits: npt.NDArray[np.float32],
    test: ShiftedTestSet,
) -> dict[str, float]:
    """Return top-1 and the calibration errors, and for CMM how far images are from prototypes."""
    measures = {
        "top1": top_1(logits, test.labels),
        "ece": calibration_error(softmax(logits, axis=1), test.labels),
    }
    if fitted.temperature_ is not None:
        measures["ece_calibrated"] = calibration_error(
            softmax(logits / fitted.temperature_, axis=1), test.labels
        )
    if isinstance(fitted, CMM):
        mapped = MappedEmbeddings.from_head(fitted.model_, embeddings, test.labels, test.classes)
        for prefix, gap in zip(("", "mapped_"), mapped.modality_gaps(), strict=True):
            measures[f"{prefix}own_cosine"] = gap.own_cosine
            # NaN, which JSON has not, where all classes share one text.
            if not math.isnan(gap.hardest_wrong_cosine):
                measures[f"{prefix}hardest_wrong_cosine"] = gap.hardest_wrong_cosine
    return measures


def _check_arguments(
    embedding_sets: Sequence[EmbeddingSet],
    methods: Sequence[str],
    shots: Sequence[Shots],
    seeds: Sequence[int],
) -> None:
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise InputError(f"`methods` must be among {', '.join(METHODS)}. Received: {unknown[0]}")
    integers = int | np.integer
    bad = [
        each for each in shots if each != "all" and not (isinstance(each, integers) and each > 0)
    ]
    if bad:
        raise InputError(f'`shots` must be integers of 1 or more, or "all". Received: {bad[0]!r}')
    bad = [each for each in seeds if not (isinstance(each, integers) and 0 <= each < 2**32)]
    if bad:
        raise InputError(f"`seeds` must be integers from 0 to 2**32 - 1. Received: {bad[0]!r}")
    names = [(data.dataset, data.protocol, data.backbone) for data in embedding_sets]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        dataset, protocol, backbone = repeated[0]
        raise InputError(
            "two embeddings files have the same data set, protocol and backbone "
            f"({dataset}, {protocol}, {backbone}): their records could not be told apart."
        )


def _support_rows(
    embedding_set: EmbeddingSet, shots: Shots, seed: int, sample: FewShotSample | None
) -> npt.NDArray[np.int64]:
    if sample is None:
        keys = embedding_set.keys("train")
        return sample_few_shot(embedding_set.train_labels, shots, seed=seed, keys=keys).indices
    num_rows = len(embedding_set.train_labels)
    if (sample.num_rows, sample.shots) != (num_rows, shots):
        raise InputError(
            f"`sample` must hold a {shots}-shot draw of {num_rows} train rows. "
            f"Received: a {sample.shots}-shot draw of {sample.num_rows} rows"
        )
    return sample.indices


def _draw_validation(
    embedding_set: EmbeddingSet,
    support_rows: npt.NDArray[np.int64],
    shots: int,
    seed: int,
    sample: FewShotSample | None,
) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.int64] | None, str]:
    if not support_rows.size:
        return None, None, "none"
    if embedding_set.val_embeddings is not None and embedding_set.val_labels is not None:
        embeddings, labels = embedding_set.val_embeddings, embedding_set.val_labels
        exclude, source = None, "from the validation pool"
    else:
        embeddings, labels = embedding_set.train_embeddings, embedding_set.train_labels
        exclude, source = support_rows, "from train rows outside the support set"
    if sample is None:
        keys = embedding_set.keys("train" if embedding_set.val_embeddings is None else "val")
        sample = sample_validation(labels, shots, seed=seed, keys=keys, exclude=exclude)
    elif sample.num_rows != len(labels):
        raise InputError(
            f"`val_sample` must be drawn from {len(labels)} rows. Received: one drawn from "
            f"{sample.num_rows} rows"
        )
    rows = sample.indices
    # A few classes' rows would choose hyper-parameters for those classes alone.
    if 2 * len(np.unique(labels[rows])) < embedding_set.num_classes:
        return None, None, "none"
    return unit_rows(embeddings[rows]), labels[rows].astype(np.int64), source


def versions() -> dict[str, str]:
    """Return the versions of what a result depends on, for the record.

    Example:
        >>> sorted(set(versions()) - {versions()["backend"]})
        ['backend', 'keras', 'keras-hub', 'keras_cmm', 'numpy', 'pillow', 'python']
    """
    # Not at the top: the package imports this module while it is itself being imported.
    from keras_cmm import __version__

    backend = keras.backend.backend()
    packages = ("keras", "keras-hub", backend, "numpy", "pillow")
    return {
        "keras_cmm": __version__,
        "python": platform.python_version(),
        "backend": backend,
        **{name: importlib.metadata.version(name) for name in packages},
    }
