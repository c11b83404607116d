"""The runner of the few-shot benchmark, for Python and for `keras-cmm benchmark`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation.base_to_new import run_base_to_new
from keras_cmm.evaluation.benchmark_data import BenchmarkData
from keras_cmm.evaluation.protocol import Run, Shots, plan_runs
from keras_cmm.evaluation.record import Record
from keras_cmm.evaluation.single_run import run_task
from keras_cmm.evaluation.transductive_run import run_transductive
from keras_cmm.methods import METHODS, FewShotTask
from keras_cmm.methods.transductive import TRANSDUCTIVE_METHODS
from keras_cmm_runtime.errors import InputError

Data = TypeVar("Data", bound=BenchmarkData)


class Outcome(NamedTuple, Generic[Data]):
    """The records of a run, one a test set, or the reason why it was left out.

    `run` is `None` if the whole data set was left out.
    """

    data: Data
    run: Run | None
    records: Sequence[Record] = ()
    refusal: InputError | None = None

    @property
    def message(self) -> str:
        """What was left out, and why."""
        if self.run is None:
            return f"{self.data.label}: {self.refusal}"
        method, shots, seed = self.run
        return f"{self.data.label}: {method}, {shots}-shot, seed {seed} left out. {self.refusal}"


def run_plan(
    plan: Sequence[tuple[Data, Sequence[Run]]], base_to_new: bool = False
) -> Iterator[Outcome[Data]]:
    """Does the runs of each data set, and yields each outcome as soon as it is known.

    A run that is refused stops no other. With `base_to_new` methods are scored by
    `run_base_to_new`, instead of on all classes and shifts.
    """
    for data, runs in plan:
        if not runs:
            continue
        try:
            data.prepare([(run.shots, run.seed) for run in runs if run.shots])
        except InputError as error:
            yield Outcome(data, None, refusal=error)
            continue
        task: FewShotTask | None = None
        for run in runs:
            try:
                # All methods of a draw share its task, so that its warnings come once.
                if task is None or (task.shots, task.seed) != run[1:]:
                    task = data.task(run.shots, run.seed)
                if base_to_new:
                    records = [run_base_to_new(data.embedding_set, task, run.method, data.also)]
                elif run.method in TRANSDUCTIVE_METHODS:
                    records = run_transductive(data.embedding_set, task, run.method, data.shifts)
                else:
                    records = run_task(data.embedding_set, task, run.method, data.shifts, data.also)
            except InputError as error:
                yield Outcome(data, run, refusal=error)
            else:
                yield Outcome(data, run, records)


def run_benchmark(
    embedding_sets: Sequence[EmbeddingSet],
    methods: Sequence[str],
    shots: Sequence[Shots],
    seeds: Sequence[int],
    on_record: Callable[[Record], None] | None = None,
    also: str | None = None,
) -> list[Record]:
    """Fits and tests every method on every data set, at every number of shots and seed.

    Test rows are used by `predict_logits` alone, after `fit`; transductive methods, which have no
    `fit`, see them without labels. Zero-shot gives one record a data set, with shots 0 and seed 0.
    A number of shots that no class of a data set has is left out with a warning, because its runs
    would repeat those of fewer shots. A run that its method refuses is left out with a warning too,
    such as a linear probe on images of one class.

    Args:
        embedding_sets: The data sets.
        methods: Keys of `keras_cmm.methods.METHODS`, or of
            `keras_cmm.methods.transductive.TRANSDUCTIVE_METHODS`, which see all test images at
            once. The two groups cannot be compared, so one call runs one of them.
        shots: Numbers of rows a class, 1 or more, or "all".
        seeds: Seeds of the draws and of the training, from 0 to 2**32 - 1.
        on_record: Called with each record as soon as there is one.
        also: Name of the embeddings of a second encoder, which CMM uses beside CLIP's; see
            `EmbeddingSet`. The backbone of the records gets it too, as in "CLIP + dinov3".

    Returns:
        Flat JSON-able records {dataset, protocol, backbone, method, shots, seed, num_classes,
        support_rows, test_rows, top1 (percent), ece, fit_seconds, predict_seconds,
        hyperparameters, versions}.
        `support_rows` is below shots * num_classes where classes have fewer train rows. Methods
        that fit a temperature also have ece_calibrated. CMM also has the mean cosines of test
        images to their own and to the hardest wrong prototype, before the mapping (`own_cosine`,
        `hardest_wrong_cosine`) and after it (`mapped_own_cosine`, `mapped_hardest_wrong_cosine`).
        The hardest wrong cosines are left out where all classes share one text.

    Raises:
        InputError: If a method is unknown or of another group than the first, `shots` or a seed
            cannot be used, two data sets have the same name, protocol and backbone, one has no
            embeddings of the name `also`, or every run is refused.

    Example:
        >>> import numpy as np
        >>> eye, ids = np.eye(2), np.arange(2)
        >>> data = EmbeddingSet(
        ...     dataset="bugs", backbone="CLIP", class_names=["ant", "bee"], text_embeddings=eye,
        ...     train_embeddings=eye, train_labels=ids, test_embeddings=eye, test_labels=ids,
        ... )
        >>> records = run_benchmark([data], ["zero_shot", "nearest_mean"], shots=[1], seeds=[1])
        >>> [(record["method"], record["shots"], record["top1"]) for record in records]
        [('zero_shot', 0, 100.0), ('nearest_mean', 1, 100.0)]
    """
    _check_arguments(embedding_sets, methods, shots, seeds)
    # Records are JSON-able, whatever kind of integer was given.
    seeds = [int(seed) for seed in seeds]
    shots = [number if number == "all" else int(number) for number in shots]
    plan = []
    for each in embedding_sets:
        data = BenchmarkData(each, also=also)
        plan.append((data, plan_runs(data.label, data.largest_class, methods, shots, seeds)))
    records: list[Record] = []
    refusal = None
    for outcome in run_plan(plan):
        if outcome.refusal is not None:
            refusal = outcome.refusal
            warnings.warn(outcome.message, stacklevel=2)
        for record in outcome.records:
            records.append(record)
            if on_record is not None:
                on_record(record)
    if refusal is not None and not records:
        raise refusal
    return records


def _check_arguments(
    embedding_sets: Sequence[EmbeddingSet],
    methods: Sequence[str],
    shots: Sequence[Shots],
    seeds: Sequence[int],
) -> None:
    integers = int | np.integer
    known: Collection[str] = METHODS
    if methods and methods[0] in TRANSDUCTIVE_METHODS:
        known = TRANSDUCTIVE_METHODS
    for method in methods:
        if method not in known:
            raise InputError(f"`methods` must be among {', '.join(known)}. Received: {method}")
    for number in shots:
        if number != "all" and not (isinstance(number, integers) and number > 0):
            raise InputError(f'`shots` must be integers >= 1 or "all". Received: {number!r}')
    for seed in seeds:
        if not (isinstance(seed, integers) and 0 <= seed < 2**32):
            raise InputError(f"`seeds` must be integers from 0 to 2**32 - 1. Received: {seed!r}")
    names = [(data.dataset, data.protocol, data.backbone) for data in embedding_sets]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise InputError(
            "the data sets must differ in name, protocol or backbone: their records could not be "
            f"told apart. Received twice: {', '.join(repeated[0])}"
        )
